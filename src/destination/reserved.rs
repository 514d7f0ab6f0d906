//! The names that the broker gives, and no client can use: those of the queues behind durable subscriptions (U9).

use super::Destination;

/// What they begin with.
const RESERVED: &str = "@durable/";

impl Destination {
    /// The queue of the durable subscription that a client of this user calls `name`, whatever it is on: ActiveMQ's way.
    pub fn of_client(user: Option<&str>, client: &str, name: &str) -> Destination {
        let mut text = owned_by(user);
        text.push_str("client/");
        escape(&mut text, client);
        text.push('/');
        escape(&mut text, name);
        Destination::new(text)
    }

    /// The queue of the durable subscription of this user that is called `id` and is on `topic`, whatever the client:
    /// RabbitMQ's way.
    pub fn of_subscription(user: Option<&str>, id: &str, topic: &str) -> Destination {
        let mut text = owned_by(user);
        text.push_str("id/");
        escape(&mut text, id);
        text.push('/');
        // Nothing follows, so this may hold anything.
        text.push_str(topic);
        Destination::new(text)
    }

    /// Whether only the broker itself can mean this one.
    pub fn is_reserved(&self) -> bool {
        is_reserved(self.as_str())
    }
}

pub(super) fn is_reserved(destination: &str) -> bool {
    destination.starts_with(RESERVED)
}

/// The beginning of the names of one user's, or of those that are nobody's.
fn owned_by(user: Option<&str>) -> String {
    let mut text = RESERVED.to_owned();
    if let Some(user) = user {
        text.push_str("user/");
        escape(&mut text, user);
        text.push('/');
    }
    text
}

/// Writes a name so that it has no slash, and different names stay different.
fn escape(text: &mut String, name: &str) {
    for letter in name.chars() {
        match letter {
            '%' => text.push_str("%25"),
            '/' => text.push_str("%2F"),
            letter => text.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_subscriptions_have_different_queues() {
        let names = ["a", "a/b", "a%2Fb", "b/c", "", "/", "%"];
        let pairs = || names.into_iter().flat_map(|one| names.map(|other| (one, other)));
        let mut queues = Vec::new();
        for user in [None, Some("a"), Some("a/b"), Some("")] {
            queues.extend(pairs().map(|(client, name)| Destination::of_client(user, client, name)));
            queues.extend(pairs().map(|(id, topic)| Destination::of_subscription(user, id, topic)));
        }
        assert!(queues.iter().all(Destination::is_reserved));
        let count = queues.len();
        queues.sort();
        queues.dedup();
        assert_eq!(queues.len(), count);
        assert_eq!(Destination::of_client(None, "a/b", "50%").as_str(), "@durable/client/a%2Fb/50%25");
        let of_bob = Destination::of_subscription(Some("bob"), "s/1", "/topic/a");
        assert_eq!(of_bob.as_str(), "@durable/user/bob/id/s%2F1//topic/a");
    }
}
