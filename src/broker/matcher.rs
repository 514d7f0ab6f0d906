//! An index from patterns to values: which values have a pattern that takes a destination?
//!
//! The cost of a look-up does not grow with the patterns that do not take the destination: literals are found by
//! hash, and the others lie in trees with one level per segment, walked only where a destination's segments lead.
//! Shapes within a segment (`pr*ce`) are found by the text before their first wildcard, or else after their last;
//! only those that begin and end with a wildcard are tried one by one.

use std::collections::HashMap;
use std::hash::Hash;

use bytestring::ByteString;
use slotmap::{SlotMap, new_key_type};
use smallvec::SmallVec;

use crate::destination::{Destination, Glob, MAX_TEXT, Pattern, Segment};
use crate::hash::Keyed;

new_key_type! {
    /// Names a node of any tree.
    struct NodeKey;
}

/// How much of a shape's fixed text its look-up uses.
const MAX_AFFIX: usize = 24;

/// The index. Patterns that take the same destinations by the same steps, such as `/a/*` and `/a/{x}`, share a value.
#[derive(Debug)]
pub(super) struct Matcher<T> {
    literals: HashMap<Destination, T, Keyed>,
    /// One per separator: as many as the configuration has.
    groups: Vec<Group>,
    nodes: SlotMap<NodeKey, Node<T>>,
    patterns: usize,
}

/// The trees of one separator, by the fixed text that their patterns begin with.
#[derive(Debug)]
struct Group {
    separator: char,
    roots: HashMap<Box<str>, NodeKey, Keyed>,
}

#[derive(Debug)]
struct Node<T> {
    value: Option<T>,
    /// Whether it stands for [`Segment::Many`], and so stays reached whatever segment comes.
    is_many: bool,
    literals: Option<Box<Literals>>,
    globs: Option<Box<Globs>>,
    one: Option<NodeKey>,
    one_not_empty: Option<NodeKey>,
    many: Option<NodeKey>,
}

/// The fixed segments that lead on from a node. Boxed, since most nodes have none.
#[derive(Debug, Default)]
struct Literals {
    children: HashMap<ByteString, NodeKey, Keyed>,
}

/// The shapes that lead on from a node, by their fixed start, or by their fixed end where they have no start.
#[derive(Debug, Default)]
struct Globs {
    by_prefix: HashMap<Box<str>, HashMap<Glob, NodeKey, Keyed>, Keyed>,
    by_suffix: HashMap<Box<str>, HashMap<Glob, NodeKey, Keyed>, Keyed>,
}

type Reached = SmallVec<[NodeKey; 16]>;

impl<T> Matcher<T> {
    pub(super) fn new() -> Matcher<T> {
        Matcher { literals: HashMap::default(), groups: Vec::new(), nodes: SlotMap::with_key(), patterns: 0 }
    }

    /// How many different patterns there are.
    pub(super) fn len(&self) -> usize {
        self.literals.len() + self.patterns
    }

    /// The value of `pattern`.
    pub(super) fn find(&self, pattern: &Pattern) -> Option<&T> {
        if let Some(literal) = pattern.literal() {
            return self.literals.get(literal);
        }
        let mut key = self.root(pattern)?;
        for segment in pattern.segments() {
            key = self.nodes.get(key)?.child(segment)?;
        }
        self.nodes.get(key)?.value.as_ref()
    }

    /// Gives `pattern` a value, in place of the one it had.
    pub(super) fn insert(&mut self, pattern: &Pattern, value: T) {
        if let Some(literal) = pattern.literal() {
            self.literals.insert(literal.clone(), value);
            return;
        }
        let mut key = self.root_or_new(pattern);
        for segment in pattern.segments() {
            key = match self.nodes.get(key).and_then(|node| node.child(segment)) {
                Some(child) => child,
                None => {
                    let child = self.nodes.insert(Node::new(*segment == Segment::Many));
                    if let Some(node) = self.nodes.get_mut(key) {
                        node.link(segment, child);
                    }
                    child
                }
            };
        }
        if let Some(node) = self.nodes.get_mut(key)
            && node.value.replace(value).is_none()
        {
            self.patterns += 1;
        }
    }

    /// Takes the value of `pattern` away, with everything that led only there.
    pub(super) fn remove(&mut self, pattern: &Pattern) -> Option<T> {
        if let Some(literal) = pattern.literal() {
            let value = self.literals.remove(literal);
            shrink(&mut self.literals);
            return value;
        }
        let mut key = self.root(pattern)?;
        let mut path = Vec::new();
        for segment in pattern.segments() {
            path.push((key, segment));
            key = self.nodes.get(key)?.child(segment)?;
        }
        let value = self.nodes.get_mut(key)?.value.take()?;
        self.patterns -= 1;
        while self.nodes.get(key).is_some_and(Node::is_useless) {
            self.nodes.remove(key);
            let Some((parent, segment)) = path.pop() else {
                self.forget_root(pattern);
                break;
            };
            if let Some(node) = self.nodes.get_mut(parent) {
                node.unlink(segment);
            }
            key = parent;
        }
        Some(value)
    }

    /// Calls `found` with the value of each pattern that takes `destination`, in no particular order.
    pub(super) fn find_all<'a>(&'a self, destination: &Destination, mut found: impl FnMut(&'a T)) {
        if let Some(value) = self.literals.get(destination) {
            found(value);
        }
        let text = destination.as_str();
        for group in &self.groups {
            // No pattern's fixed part is longer than a pattern may be.
            let slashes = text.bytes().take(MAX_TEXT).enumerate().filter(|(_, byte)| *byte == b'/');
            let ends = slashes.map(|(at, _)| at + 1).filter(|_| group.separator != '/');
            for (head, rest) in std::iter::once(0).chain(ends).filter_map(|end| text.split_at_checked(end)) {
                if let Some(root) = group.roots.get(head) {
                    self.walk(*root, rest.split(group.separator), &mut found);
                }
            }
        }
    }

    /// Follows all ways through one tree at once, a segment at a time.
    fn walk<'a, 'b>(&'a self, root: NodeKey, parts: impl Iterator<Item = &'b str>, found: &mut impl FnMut(&'a T)) {
        let mut reached = Reached::new();
        self.reach(root, &mut reached);
        for part in parts {
            let mut next = Reached::new();
            for key in &reached {
                if let Some(node) = self.nodes.get(*key) {
                    if node.is_many {
                        next.push(*key);
                    }
                    node.each_step(part, |child| self.reach(child, &mut next));
                }
            }
            // A node for `**` is reached both from its parent and from itself.
            next.sort_unstable();
            next.dedup();
            reached = next;
            if reached.is_empty() {
                return;
            }
        }
        reached.iter().filter_map(|key| self.nodes.get(*key)?.value.as_ref()).for_each(found);
    }

    /// Reaching a node also reaches its `**`, which may take no segment at all.
    fn reach(&self, key: NodeKey, reached: &mut Reached) {
        reached.push(key);
        reached.extend(self.nodes.get(key).and_then(|node| node.many));
    }

    fn root(&self, pattern: &Pattern) -> Option<NodeKey> {
        let group = self.groups.iter().find(|group| group.separator == pattern.separator())?;
        group.roots.get(pattern.head()).copied()
    }

    fn root_or_new(&mut self, pattern: &Pattern) -> NodeKey {
        if let Some(root) = self.root(pattern) {
            return root;
        }
        let root = self.nodes.insert(Node::new(false));
        let separator = pattern.separator();
        match self.groups.iter_mut().find(|group| group.separator == separator) {
            Some(group) => {
                group.roots.insert(pattern.head().into(), root);
            }
            None => {
                let roots = HashMap::from_iter([(pattern.head().into(), root)]);
                self.groups.push(Group { separator, roots });
            }
        }
        root
    }

    fn forget_root(&mut self, pattern: &Pattern) {
        if let Some(group) = self.groups.iter_mut().find(|group| group.separator == pattern.separator()) {
            group.roots.remove(pattern.head());
            shrink(&mut group.roots);
        }
        self.groups.retain(|group| !group.roots.is_empty());
    }
}

impl<T> Node<T> {
    fn new(is_many: bool) -> Node<T> {
        Node { value: None, is_many, literals: None, globs: None, one: None, one_not_empty: None, many: None }
    }

    fn is_useless(&self) -> bool {
        let leads_on = self.literals.is_some()
            || self.globs.is_some()
            || self.one.is_some()
            || self.one_not_empty.is_some()
            || self.many.is_some();
        self.value.is_none() && !leads_on
    }

    /// The nodes that a destination's segment leads to, but for [`Segment::Many`], which takes none at first.
    fn each_step(&self, part: &str, mut step: impl FnMut(NodeKey)) {
        if let Some(child) = self.literals.as_ref().and_then(|literals| literals.children.get(part)) {
            step(*child);
        }
        self.one.into_iter().for_each(&mut step);
        self.one_not_empty.into_iter().filter(|_| !part.is_empty()).for_each(&mut step);
        if let Some(globs) = &self.globs {
            globs.each_match(part, step);
        }
    }

    fn child(&self, segment: &Segment) -> Option<NodeKey> {
        match segment {
            Segment::Literal(text) => self.literals.as_ref()?.children.get(text).copied(),
            Segment::Glob(glob) => self.globs.as_ref()?.find(glob),
            Segment::One { empty: true } => self.one,
            Segment::One { empty: false } => self.one_not_empty,
            Segment::Many => self.many,
        }
    }

    fn link(&mut self, segment: &Segment, child: NodeKey) {
        match segment {
            Segment::Literal(text) => {
                self.literals.get_or_insert_default().children.insert(text.clone(), child);
            }
            Segment::Glob(glob) => self.globs.get_or_insert_default().insert(glob, child),
            Segment::One { empty: true } => self.one = Some(child),
            Segment::One { empty: false } => self.one_not_empty = Some(child),
            Segment::Many => self.many = Some(child),
        }
    }

    fn unlink(&mut self, segment: &Segment) {
        match segment {
            Segment::Literal(text) => {
                if let Some(literals) = &mut self.literals {
                    literals.children.remove(text);
                    shrink(&mut literals.children);
                }
                self.literals.take_if(|literals| literals.children.is_empty());
            }
            Segment::Glob(glob) => {
                if let Some(globs) = &mut self.globs {
                    globs.remove(glob);
                }
                self.globs.take_if(|globs| globs.by_prefix.is_empty() && globs.by_suffix.is_empty());
            }
            Segment::One { empty: true } => self.one = None,
            Segment::One { empty: false } => self.one_not_empty = None,
            Segment::Many => self.many = None,
        }
    }
}

impl Globs {
    fn find(&self, glob: &Glob) -> Option<NodeKey> {
        let (is_prefix, affix) = affix(glob);
        let map = if is_prefix { &self.by_prefix } else { &self.by_suffix };
        map.get(affix)?.get(glob).copied()
    }

    fn insert(&mut self, glob: &Glob, child: NodeKey) {
        let (is_prefix, affix) = affix(glob);
        let map = if is_prefix { &mut self.by_prefix } else { &mut self.by_suffix };
        map.entry(affix.into()).or_default().insert(glob.clone(), child);
    }

    fn remove(&mut self, glob: &Glob) {
        let (is_prefix, affix) = affix(glob);
        let map = if is_prefix { &mut self.by_prefix } else { &mut self.by_suffix };
        if let Some(bucket) = map.get_mut(affix) {
            bucket.remove(glob);
            shrink(bucket);
            if bucket.is_empty() {
                map.remove(affix);
                shrink(map);
            }
        }
    }

    fn each_match(&self, part: &str, mut step: impl FnMut(NodeKey)) {
        let mut try_bucket = |bucket: &HashMap<Glob, NodeKey, Keyed>| {
            bucket.iter().filter(|(glob, _)| glob.matches(part)).for_each(|(_, child)| step(*child));
        };
        for length in 0..=MAX_AFFIX.min(part.len()) {
            let prefix = part.get(..length).and_then(|prefix| self.by_prefix.get(prefix));
            let suffix = part.get(part.len() - length..).and_then(|suffix| self.by_suffix.get(suffix));
            prefix.into_iter().chain(suffix).for_each(&mut try_bucket);
        }
    }
}

/// The fixed text that a shape is filed under, and whether it is the start.
fn affix(glob: &Glob) -> (bool, &str) {
    match glob.prefix() {
        "" => {
            let suffix = glob.suffix();
            let start = suffix.len().saturating_sub(MAX_AFFIX);
            (false, (start..=suffix.len()).find_map(|start| suffix.get(start..)).unwrap_or_default())
        }
        prefix => {
            let end = MAX_AFFIX.min(prefix.len());
            (true, (0..=end).rev().find_map(|end| prefix.get(..end)).unwrap_or_default())
        }
    }
}

/// Gives memory back when a map has become much smaller than it was.
fn shrink<K: Eq + Hash, V>(map: &mut HashMap<K, V, Keyed>) {
    if map.capacity() > 64 && map.len() < map.capacity() / 8 {
        map.shrink_to(map.len() * 2);
    }
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::destination::Style;

    fn pattern(text: &str, style: Style, separator: char) -> Pattern {
        Pattern::parse(text.to_owned(), style, separator).expect("a pattern")
    }

    #[track_caller]
    fn check(matcher: &Matcher<&'static str>, destination: &str, expected: &[&str]) {
        let mut found = Vec::new();
        matcher.find_all(&Destination::new(destination.to_owned()), |value| found.push(*value));
        found.sort_unstable();
        assert_eq!(found, expected, "for {destination}");
    }

    #[test]
    fn u4_finds_what_takes_a_destination_and_forgets_the_rest() {
        let ant = ["/t/a", "/t/*", "/t/**", "/**/a", "/t/a?", "/t/*b*", "/t/*c", "/t/**/a/**", "/**/x/**/y"];
        let amqp = ["/t/a.*", "/t/#", "/t/#.a"];
        let mut matcher = Matcher::new();
        let ant_patterns = ant.map(|text| (text, pattern(text, Style::Ant, '/')));
        let amqp_patterns = amqp.map(|text| (text, pattern(text, Style::Amqp, '.')));
        let all: Vec<_> = ant_patterns.into_iter().chain(amqp_patterns).collect();
        for (text, pattern) in &all {
            matcher.insert(pattern, *text);
        }
        assert_eq!(matcher.len(), all.len());
        check(&matcher, "/t/a", &["/**/a", "/t/#", "/t/#.a", "/t/*", "/t/**", "/t/**/a/**", "/t/a"]);
        check(&matcher, "/t/ab", &["/t/#", "/t/*", "/t/**", "/t/*b*", "/t/a?"]);
        check(&matcher, "/t/äc", &["/t/#", "/t/*", "/t/**", "/t/*c"]);
        check(&matcher, "/t/a.b", &["/t/#", "/t/*", "/t/**", "/t/*b*", "/t/a.*"]);
        check(&matcher, "/t", &["/t/**"]);
        check(&matcher, "", &[]);
        check(&matcher, "/x/x/x/y", &["/**/x/**/y"]);
        for (text, pattern) in &all {
            assert_eq!(matcher.find(pattern), Some(text));
            assert_eq!(matcher.remove(pattern), Some(*text));
            assert_eq!(matcher.remove(pattern), None);
        }
        assert_eq!((matcher.len(), matcher.nodes.len(), matcher.groups.len()), (0, 0, 0), "everything is pruned");
    }

    #[test]
    fn patterns_of_the_same_steps_share_a_value() {
        let mut matcher = Matcher::new();
        matcher.insert(&pattern("/t/*", Style::Ant, '/'), "star");
        assert_eq!(matcher.find(&pattern("/t/{x}", Style::Ant, '/')), Some(&"star"));
    }

    fn style() -> impl Strategy<Value = (Style, char)> {
        prop::sample::select(vec![(Style::Ant, '/'), (Style::Ant, '.'), (Style::Amqp, '.'), (Style::Activemq, '.')])
    }

    fn text(alphabet: &'static str) -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(alphabet.chars().collect::<Vec<_>>()), 0..9)
            .prop_map(|characters| characters.into_iter().collect())
    }

    proptest! {
        #[test]
        fn agrees_with_asking_every_pattern(
            patterns in prop::collection::vec((text("ab/.*?#>ä"), style()), 0..30),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..15),
            destinations in prop::collection::vec(text("ab/.ä"), 1..20),
        ) {
            let mut patterns: Vec<Pattern> =
                patterns.iter().map(|(text, (style, separator))| pattern(text, *style, *separator)).collect();
            let mut matcher = Matcher::new();
            for pattern in &patterns {
                let mut held: Vec<Pattern> = matcher.find(pattern).cloned().unwrap_or_default();
                held.push(pattern.clone());
                matcher.insert(pattern, held);
            }
            for index in removed {
                if !patterns.is_empty() {
                    let gone = index.get(&patterns).clone();
                    let held = matcher.remove(&gone).expect("it was inserted");
                    patterns.retain(|pattern| !held.contains(pattern));
                }
            }
            for destination in destinations.into_iter().map(Destination::new) {
                let mut found: Vec<&str> = Vec::new();
                matcher.find_all(&destination, |held| found.extend(held.iter().map(Pattern::as_str)));
                let mut expected: Vec<&str> =
                    patterns.iter().filter(|each| each.matches(&destination)).map(Pattern::as_str).collect();
                found.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(found, expected, "for {}", destination);
            }
        }
    }
}
