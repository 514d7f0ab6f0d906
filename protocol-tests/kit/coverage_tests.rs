//! COVERAGE.md says what `statements/` and the cases say.

use std::path::Path;

use crate::{coverage, transcript};

#[test]
fn the_page_is_up_to_date() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("protocol-tests");
    let cases = transcript::load(&home.join("cases")).unwrap();
    let page = coverage::page(&cases).unwrap();
    let committed = std::fs::read_to_string(home.join("COVERAGE.md")).unwrap();
    assert!(page.trim_end() == committed.trim_end(), "run: cargo test --test protocol -- --coverage");
}
