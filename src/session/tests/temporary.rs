//! Temporary queues and `reply-to`: U1. The session is called `s-1`, which is not hexadecimal, so it calls itself `e-1` here.

use super::*;

#[track_caller]
fn check_named(options: Options, transcript: &str) {
    let start = Instant::now();
    let session = Session::new(start, ByteString::from_static("e-1"), Arc::new(options));
    let mut player = Player { start, now: start, session };
    player.happen("> CONNECT accept-version:1.2 on-error:continue");
    compare(&mut player, transcript);
}

#[test]
fn each_session_means_its_own() {
    check_named(
        Options::default(),
        "> SUBSCRIBE id:a destination:/temp-queue/x receipt:r
         < #0 subscribe 0=a queue /temp-queue/@e-1/x credit:100
         > SEND destination:/temp-queue/x delay:5 | hi
         < #- send /temp-queue/@e-1/x delay:5 {due +5} | hi
         > SEND destination:/temp-queue/@2-b/x | hi
         < #- send /temp-queue/@2-b/x | hi
         > SUBSCRIBE id:b destination:/temp-queue/@e-1/y
         < #1 subscribe 1=b queue /temp-queue/@e-1/y credit:100
         > SUBSCRIBE id:c destination:/temp-queue/@2-b/x receipt:q
         < ERROR code:not-owner receipt-id:q
         < note Refused { code: \"not-owner\" }",
    );
}

#[test]
fn a_reply_to_finds_a_subscription() {
    check_named(
        Options::default(),
        "> SEND destination:/queue/a reply-to:/temp-queue/x n:1 | ask
         < #0 subscribe 0=/temp-queue/x queue /temp-queue/@e-1/x credit:100
         < #- send /queue/a reply-to:/temp-queue/@e-1/x n:1 | ask
         > SEND destination:/topic/a reply-to:/temp-queue/x | ask
         < #- send /topic/a reply-to:/temp-queue/@e-1/x | ask
         > SUBSCRIBE id:a destination:/temp-queue/x
         < #1 subscribe 1=a queue /temp-queue/@e-1/x replaces 0 credit:100
         > SEND destination:/queue/a reply-to:/temp-queue/x | ask
         < #- send /queue/a reply-to:/temp-queue/@e-1/x | ask
         > SEND destination:/queue/a reply-to:/temp-queue/@2-b/x | forwarded
         < #- send /queue/a reply-to:/temp-queue/@2-b/x | forwarded
         > SEND destination:/queue/a reply-to:/topic/x | ask
         < #- send /queue/a reply-to:/topic/x | ask",
    );
}

#[test]
fn a_look_at_the_answers_leaves_them_their_subscription() {
    check_named(
        Options::default(),
        "> SUBSCRIBE id:early destination:/temp-queue/x browser:true
         < #0 subscribe 0=early queue /temp-queue/@e-1/x browses credit:100
         > SEND destination:/queue/a reply-to:/temp-queue/x | ask
         < #1 subscribe 1=/temp-queue/x queue /temp-queue/@e-1/x credit:100
         < #- send /queue/a reply-to:/temp-queue/@e-1/x | ask
         > SUBSCRIBE id:late destination:/temp-queue/x browser:true
         < #2 subscribe 2=late queue /temp-queue/@e-1/x browses credit:100
         > SEND destination:/queue/a reply-to:/temp-queue/x | ask
         < #- send /queue/a reply-to:/temp-queue/@e-1/x | ask
         > SUBSCRIBE id:own destination:/temp-queue/x
         < #3 subscribe 3=own queue /temp-queue/@e-1/x replaces 1 credit:100",
    );
}

#[test]
fn a_subscription_of_the_client_that_is_called_as_the_queue_stays() {
    check_named(
        Options::default(),
        "> SUBSCRIBE id:/temp-queue/x destination:/temp-queue/x
         < #0 subscribe 0=/temp-queue/x queue /temp-queue/@e-1/x credit:100
         > SUBSCRIBE id:b destination:/temp-queue/x
         < #1 subscribe 1=b queue /temp-queue/@e-1/x credit:100",
    );
}

#[test]
fn u6_a_new_subscription_takes_the_place_of_the_one_it_replaces() {
    check_named(
        Options::default(),
        "> SUBSCRIBE id:a destination:/temp-queue/x
         < #0 subscribe 0=a queue /temp-queue/@e-1/x credit:100
         > SUBSCRIBE id:a destination:/temp-queue/x
         < #1 subscribe 1=a queue /temp-queue/@e-1/x replaces 0 credit:100
         > SUBSCRIBE id:a destination:/temp-queue/x browser:true
         < #- unsubscribe 1=a queue /temp-queue/@e-1/x by-client
         < #2 subscribe 2=a queue /temp-queue/@e-1/x browses credit:100
         > SUBSCRIBE id:a destination:/temp-queue/x
         < #- unsubscribe 2=a queue /temp-queue/@e-1/x by-client
         < #3 subscribe 3=a queue /temp-queue/@e-1/x credit:100
         > SUBSCRIBE id:a destination:/temp-queue/y
         < #- unsubscribe 3=a queue /temp-queue/@e-1/x by-client
         < #4 subscribe 4=a queue /temp-queue/@e-1/y credit:100",
    );
}

#[test]
fn limits_hold_for_what_a_reply_to_makes() {
    check_named(
        Options { max_subscriptions: 1, ..Options::default() },
        "> SUBSCRIBE id:a destination:/topic/x
         < #0 subscribe 0=a topic /topic/x credit:100
         > SEND destination:/queue/a reply-to:/temp-queue/x receipt:r | ask
         < ERROR code:too-many-subscriptions receipt-id:r
         < note Refused { code: \"too-many-subscriptions\" }",
    );
}

#[test]
fn p6_a_subscribe_may_say_that_its_queue_ends_with_it() {
    check_named(
        Options::default(),
        "> SUBSCRIBE id:a destination:/queue/x-userabc simpOrigDestination:/user/queue/x
         < #0 subscribe 0=a queue /queue/x-userabc ends-queue credit:100
         > SUBSCRIBE id:b destination:/queue/x-userabc
         < #1 subscribe 1=b queue /queue/x-userabc credit:100
         > SUBSCRIBE id:c destination:/queue/x-user/abc simpOrigDestination:/user/queue/x
         < #2 subscribe 2=c queue /queue/x-user/abc credit:100
         > SUBSCRIBE id:d destination:/queue/x auto-delete:true
         < #3 subscribe 3=d queue /queue/x ends-queue credit:100
         > SUBSCRIBE id:d destination:/queue/x auto-delete:true
         < #4 subscribe 4=d queue /queue/x ends-queue replaces 3 credit:100
         > SUBSCRIBE id:e destination:/queue/y auto-delete:false
         < #5 subscribe 5=e queue /queue/y credit:100",
    );
    check_named(
        Options { spring_user_queues: false, ..Options::default() },
        "> SUBSCRIBE id:a destination:/queue/x-userabc simpOrigDestination:/user/queue/x
         < #0 subscribe 0=a queue /queue/x-userabc credit:100",
    );
}

#[test]
fn p6_a_send_may_be_for_one_client_that_is_gone() {
    for (spring_user_queues, destination, header, is_relayed) in [
        (true, "/queue/x-userabc", " simpOrigDestination:/user/queue/x", true),
        (true, "/queue/x-userabc", "", false),
        (true, "/queue/x", " simpOrigDestination:/user/queue/x", false),
        (true, "/topic/x-userabc", " simpOrigDestination:/user/topic/x", false),
        (false, "/queue/x-userabc", " simpOrigDestination:/user/queue/x", false),
    ] {
        let mut player = Player::new(Options { spring_user_queues, ..Options::default() });
        player.happen("> CONNECT accept-version:1.2");
        let sent = player.happen(&format!("> SEND destination:{destination}{header}"));
        let says = sent.iter().any(|action| action.contains("relayed"));
        assert_eq!((sent.len(), says), (1, is_relayed), "{destination}{header}: {sent:?}");
    }
}
