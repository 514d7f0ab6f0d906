//! The names that the broker gives, and no client can use: those of the queues behind durable subscriptions (U9).

use super::Destination;

/// What they begin with.
const RESERVED: &str = "@durable/";

impl Destination {
    /// The queue of the durable subscription that a client calls `name`, whatever it is on: ActiveMQ's way.
    pub fn of_client(client: &str, name: &str) -> Destination {
        let mut text = format!("{RESERVED}client/");
        escape(&mut text, client);
        text.push('/');
        escape(&mut text, name);
        Destination::new(text)
    }

    /// The queue of the durable subscription that is called `id` and is on `topic`, whoever it belongs to: RabbitMQ's way.
    pub fn of_subscription(id: &str, topic: &str) -> Destination {
        let mut text = format!("{RESERVED}id/");
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
        let mut queues: Vec<Destination> = pairs().map(|(client, name)| Destination::of_client(client, name)).collect();
        queues.extend(pairs().map(|(id, topic)| Destination::of_subscription(id, topic)));
        assert!(queues.iter().all(Destination::is_reserved));
        let count = queues.len();
        queues.sort();
        queues.dedup();
        assert_eq!(queues.len(), count);
        assert_eq!(Destination::of_client("a/b", "50%").as_str(), "@durable/client/a%2Fb/50%25");
        assert_eq!(Destination::of_subscription("s/1", "/topic/a").as_str(), "@durable/id/s%2F1//topic/a");
    }
}
