//! Durable subscriptions: SEMANTICS U9, Q9.

use super::*;

/// Plays a transcript of a session whose client says what it is called.
#[track_caller]
fn check_named(options: Options, transcript: &str) {
    let mut player = Player::new(options);
    player.happen("> CONNECT accept-version:1.2 client-id:till/7");
    compare(&mut player, transcript);
}

#[test]
fn u9_as_rabbitmq_spells_them() {
    check_connected(
        "1.2",
        Options::default(),
        "> SUBSCRIBE id:a destination:/topic/** durable:true auto-delete:false ack:client prefetch-count:5 receipt:r
         < #0 subscribe 0=a durable @durable/id/a//topic/** on /topic/** credit:5
         = 0 0
         < RECEIPT receipt-id:r
         > SUBSCRIBE id:b destination:/topic/b durable:true
         < #1 subscribe 1=b topic /topic/b credit:100
         > SUBSCRIBE id:c destination:/topic/c durable:true auto-delete:true
         < #2 subscribe 2=c topic /topic/c credit:100
         > SUBSCRIBE id:d destination:/queue/d durable:true auto-delete:false
         < #3 subscribe 3=d queue /queue/d credit:100
         > SUBSCRIBE id:e destination:/topic/e durable:true auto-delete:false browser:true no-local:true
         < #4 subscribe 4=e durable @durable/id/e//topic/e on /topic/e no-local credit:100",
    );
}

#[test]
fn u9_as_activemq_spells_them() {
    for header in ["activemq.subscriptionName", "durable-subscription-name"] {
        check_named(
            Options::default(),
            &format!(
                "> SUBSCRIBE id:a destination:/topic/a {header}:prices
                 < #0 subscribe 0=a durable @durable/client/till%2F7/prices on /topic/a exclusive credit:100
                 > SUBSCRIBE id:b destination:/queue/b {header}:prices
                 < #1 subscribe 1=b queue /queue/b credit:100"
            ),
        );
        check_connected(
            "1.2",
            Options::default(),
            &format!(
                "> SUBSCRIBE id:a destination:/topic/a {header}:prices\n< ERROR code:bad-header\n< close 1002 bad-header"
            ),
        );
        check_named(
            Options { max_id_bytes: 6, ..Options::default() },
            &format!(
                "> SUBSCRIBE id:a destination:/topic/a {header}:prices7\n< ERROR code:id-too-long\n< close 1009 id-too-long"
            ),
        );
    }
}

#[test]
fn u9_q9_its_messages_come_as_those_of_a_queue() {
    check_connected(
        "1.2",
        Options::default(),
        "> SUBSCRIBE id:a destination:/topic/* durable:true auto-delete:false ack:client-individual
         < #0 subscribe 0=a durable @durable/id/a//topic/* on /topic/* credit:100
         = 0 0
         + 0 /topic/x 1 queue again:2
         < MESSAGE a 1 ack:0-1 redelivered:2
         > NACK id:0-1
         < #- Rejected 1
         lost
         < #- unsubscribe 0=a durable @durable/id/a//topic/* on /topic/*",
    );
}

#[test]
fn u9_only_the_headers_that_made_it_end_it() {
    check_connected(
        "1.2",
        Options::default(),
        "> SUBSCRIBE id:a destination:/topic/a durable:true auto-delete:false
         < #0 subscribe 0=a durable @durable/id/a//topic/a on /topic/a credit:100
         = 0 0
         > UNSUBSCRIBE id:a receipt:r1
         < #1 unsubscribe 0=a durable @durable/id/a//topic/a on /topic/a by-client
         = 1 0
         < RECEIPT receipt-id:r1
         > SUBSCRIBE id:a destination:/topic/a durable:true auto-delete:false
         < #2 subscribe 1=a durable @durable/id/a//topic/a on /topic/a credit:100
         = 2 0
         > UNSUBSCRIBE id:a durable:true receipt:r2
         < #- unsubscribe 1=a durable @durable/id/a//topic/a on /topic/a by-client
         < #3 forget @durable/id/a//topic/a
         = 3 0
         < RECEIPT receipt-id:r2
         > UNSUBSCRIBE id:a durable:true destination:/topic/a
         < #- forget @durable/id/a//topic/a
         > UNSUBSCRIBE id:a durable:true destination:/queue/a receipt:r3
         < RECEIPT receipt-id:r3
         > UNSUBSCRIBE id:a durable:true receipt:r4
         < RECEIPT receipt-id:r4
         > SUBSCRIBE id:t destination:/topic/t
         < #4 subscribe 2=t topic /topic/t credit:100
         > UNSUBSCRIBE id:t durable:true destination:/topic/t
         < #- unsubscribe 2=t topic /topic/t by-client
         > UNSUBSCRIBE id:a activemq.subscriptionName:prices
         < ERROR code:bad-header
         < close 1002 bad-header",
    );
    check_named(
        Options::default(),
        "> SUBSCRIBE id:a destination:/topic/a durable-subscription-name:prices
         < #0 subscribe 0=a durable @durable/client/till%2F7/prices on /topic/a exclusive credit:100
         > UNSUBSCRIBE id:a durable-subscription-name:prices
         < #- unsubscribe 0=a durable @durable/client/till%2F7/prices on /topic/a exclusive by-client
         < #- forget @durable/client/till%2F7/prices
         > UNSUBSCRIBE id:never-there activemq.subscriptionName:other
         < #- forget @durable/client/till%2F7/other",
    );
}

#[test]
fn u9_users_do_not_share() {
    let mut player = Player::new(Options { trust_login: true, ..Options::default() });
    player.happen("> CONNECT accept-version:1.2 client-id:till/7 login:bob");
    compare(
        &mut player,
        "> SUBSCRIBE id:a destination:/topic/a durable:true auto-delete:false
         < #0 subscribe 0=a durable @durable/user/bob/id/a//topic/a on /topic/a credit:100
         > SUBSCRIBE id:b destination:/topic/a activemq.subscriptionName:prices
         < #1 subscribe 1=b durable @durable/user/bob/client/till%2F7/prices on /topic/a exclusive credit:100
         > UNSUBSCRIBE id:c destination:/topic/c durable:true
         < #- forget @durable/user/bob/id/c//topic/c",
    );
}

#[test]
fn u6_the_same_id_takes_the_place_of_the_earlier_part() {
    check_connected(
        "1.2",
        Options::default(),
        "> SUBSCRIBE id:a destination:/topic/a durable:true auto-delete:false
         < #0 subscribe 0=a durable @durable/id/a//topic/a on /topic/a credit:100
         > SUBSCRIBE id:a destination:/topic/a durable:true auto-delete:false
         < #- unsubscribe 0=a durable @durable/id/a//topic/a on /topic/a by-client
         < #1 subscribe 1=a durable @durable/id/a//topic/a on /topic/a credit:100",
    );
}

#[test]
fn the_queues_behind_them_are_nobodys_destination() {
    for frame in ["SUBSCRIBE id:a", "SEND"] {
        check_connected(
            "1.2",
            Options::default(),
            &format!(
                "> {frame} destination:@durable/id/a//topic/a
                 < ERROR code:unknown-destination
                 < close 1008 unknown-destination"
            ),
        );
    }
}

#[test]
fn topics_know_what_their_durable_subscriptions_need() {
    check_connected(
        "1.2",
        Options::default(),
        "> SEND destination:/topic/a persistent:true expiration:5 priority:high delay:x
         < #- send /topic/a persistent:true expiration:5 priority:high delay:x {expires +5, persistent} |
         > SEND destination:/topic/a persistent:maybe expires:soon
         < #- send /topic/a persistent:maybe expires:soon |",
    );
}
