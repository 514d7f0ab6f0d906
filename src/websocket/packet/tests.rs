use super::*;

#[test]
fn an_idle_receiver_is_small() {
    assert!(size_of::<Receiver>() <= 64, "{} bytes", size_of::<Receiver>());
    assert_eq!(Receiver::new(true).held_bytes(), 0);
}
