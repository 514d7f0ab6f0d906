//! Node packages, installed as their lock file says, below `target` and not in the tree.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thiserror::Error;

#[derive(Debug, Error)]
pub(crate) enum NpmError {
    /// There is no Node.js here: whoever runs the tests decides what that means.
    #[error("no `{0}` on this machine: install Node.js 18 or later")]
    Missing(&'static str),
    #[error("npm ci in {folder} failed; it said:\n{said}")]
    Install { folder: PathBuf, said: String },
    #[error("{path}: {cause}")]
    Copy { path: PathBuf, cause: io::Error },
}

/// Copies a suite's folder below `target` and installs its packages there; answers with the copy.
///
/// Packages stay from run to run as long as the lock file is the same.
pub(crate) fn install(folder: &Path) -> Result<PathBuf, NpmError> {
    for tool in ["node", "npm"] {
        let found = Command::new(tool).arg("--version").stdin(Stdio::null()).output();
        found.ok().filter(|output| output.status.success()).ok_or(NpmError::Missing(tool))?;
    }
    let name = folder.file_name().unwrap_or_default();
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients").join(name);
    let stamp = copy.join("installed.json");
    copy_files(folder, &copy)?;
    let lock = std::fs::read(copy.join("package-lock.json")).ok();
    if lock.is_some() && lock == std::fs::read(&stamp).ok() {
        return Ok(copy);
    }
    let output = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(&copy)
        .stdin(Stdio::null())
        .output()
        .map_err(|cause| NpmError::Copy { path: copy.clone(), cause })?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        return Err(NpmError::Install { folder: copy, said: String::from_utf8_lossy(&said).into_owned() });
    }
    std::fs::write(&stamp, lock.unwrap_or_default()).map_err(|cause| NpmError::Copy { path: stamp, cause })?;
    Ok(copy)
}

/// The plain files of a folder; folders in it, such as packages installed by hand, are left.
fn copy_files(from: &Path, to: &Path) -> Result<(), NpmError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |cause| NpmError::Copy { path, cause }
    };
    std::fs::create_dir_all(to).map_err(failed(to))?;
    for entry in std::fs::read_dir(from).map_err(failed(from))? {
        let entry = entry.map_err(failed(from))?;
        if entry.path().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).map_err(failed(&entry.path()))?;
        }
    }
    Ok(())
}
