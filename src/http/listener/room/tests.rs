use futures_util::FutureExt;

use super::seat::STEP;
use super::*;

const SHORT: Duration = Duration::from_millis(40);

/// Room for `connections`, three quarters of them of one source, with `each` bytes for a connection.
fn room(connections: usize, each: usize) -> Arc<Room> {
    let per_source = connections * 3 / 4;
    Room::with(Bounds { connections, per_source, memory: connections * each }, SHORT, None)
}

fn peer(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn told_to_end(seat: &Seat) -> bool {
    seat.ended().now_or_never().is_some()
}

#[tokio::test]
async fn who_is_stalled_longest_makes_room_and_who_waits_for_the_broker_never_does() {
    let room = room(4, 2 * CONNECTION);
    let seats: Vec<Seat> = (0..4).map(|n| room.take(peer(n)).unwrap()).collect();
    seats[0].begin_ours();
    assert!(room.vacancy().now_or_never().is_none(), "all have just come");
    std::thread::sleep(SHORT * 2);
    seats[1].note_progress();
    let mut waiting = std::pin::pin!(room.vacancy());
    assert!(waiting.as_mut().now_or_never().is_none(), "whoever was told to end is still there");
    let ended: Vec<bool> = seats.iter().map(told_to_end).collect();
    assert_eq!(ended, [false, false, true, false]);
    let mut seats = seats;
    drop(seats.remove(2));
    tokio::time::timeout(Duration::from_secs(1), waiting).await.expect("room");
    drop(seats);
    assert_eq!((room.connections(), room.memory(), room.shed()), (0, 0, 1));
}

#[test]
fn one_source_leaves_room_for_others() {
    let room = room(8, 2 * CONNECTION);
    let seats: Vec<Seat> = (0..6).map(|_| room.take(peer(1)).unwrap()).collect();
    assert!(room.take(peer(1)).is_none(), "six of eight are its share");
    let other = room.take(peer(2)).unwrap();
    // Its share of the memory is six times as much as for one connection.
    let most = seats.iter().map(|seat| seat.hold(2 * CONNECTION)).take_while(Result::is_ok).count();
    assert!((2..6).contains(&most), "{most}");
    assert_eq!(other.hold(CONNECTION), Ok(()));
    drop((seats, other));
    assert_eq!((room.connections(), room.memory()), (0, 0));
}

#[test]
fn what_is_held_counts_until_it_is_released_and_too_much_is_refused() {
    let room = Room::with(Bounds { connections: 10, per_source: 10, memory: 1 << 20 }, SHORT, None);
    let (one, other) = (room.take(peer(1)).unwrap(), room.take(peer(2)).unwrap());
    let much = (1 << 20) - 4 * CONNECTION;
    one.hold(much).unwrap();
    assert_eq!(other.hold(4 * CONNECTION), Err(Full));
    one.release(much);
    assert!(room.memory() <= 2 * CONNECTION + 3 * STEP, "{}", room.memory());
    other.hold(4 * CONNECTION).unwrap();
    std::thread::sleep(SHORT * 2);
    other.note_progress();
    // The first is stalled by now, and what it holds goes to the other once it is gone.
    assert_eq!(other.hold((1 << 20) - 6 * CONNECTION), Err(Full));
    assert!(told_to_end(&one) && !told_to_end(&other));
    assert_eq!(one.hold(1 << 20), Err(Full));
    drop(one);
    other.hold((1 << 20) - 6 * CONNECTION).unwrap();
    drop(other);
    assert_eq!((room.connections(), room.memory()), (0, 0));
}

#[test]
fn a_source_that_comes_again_and_again_hides_no_other() {
    let room = Room::with(Bounds { connections: 100, per_source: 2, memory: 200 * CONNECTION }, SHORT, None);
    let stalled: Vec<Seat> = (0..2).map(|_| room.take(peer(1)).unwrap()).collect();
    let fresh: Vec<Seat> = (0..2).map(|_| room.take(peer(2)).unwrap()).collect();
    std::thread::sleep(SHORT * 2);
    fresh.iter().for_each(Seat::note_progress);
    assert!(room.take(peer(2)).is_none(), "nobody of its own could be closed");
    assert!(room.take(peer(1)).is_none(), "there is room once one of its own is gone");
    assert_eq!(stalled.iter().filter(|seat| told_to_end(seat)).count(), 1);
    assert!(!fresh.iter().any(told_to_end));
}

#[test]
fn an_operators_connection_that_is_to_leave_has_nothing_to_gain_by_asking_on() {
    let room = Room::for_operators(Bounds { connections: 2, per_source: 2, memory: 1 << 20 });
    let one = room.take(peer(1)).unwrap();
    assert!(!one.end_where_crowded(), "one of two");
    let other = room.take(peer(1)).unwrap();
    assert!(other.end_where_crowded() && other.is_leaving() && !one.is_leaving());
    assert!(other.leaves().now_or_never().is_some(), "HTTP/2 is told");
    std::thread::sleep(STALLED_OPERATOR * 2);
    other.note_progress();
    one.note_taken();
    assert!(one.quiet() >= STALLED_OPERATOR && other.quiet() >= STALLED_OPERATOR);
    one.note_progress();
    assert!(one.quiet() < STALLED_OPERATOR);
    // The public room has no such rule.
    let public = Room::new(Bounds { connections: 1, per_source: 1, memory: 1 << 20 });
    assert!(!public.take(peer(1)).unwrap().end_where_crowded());
}

#[test]
fn whoever_was_told_to_end_and_had_asked_by_then_stays() {
    let room = room(4, 2 * CONNECTION);
    let seats: Vec<Seat> = (0..4).map(|n| room.take(peer(n)).unwrap()).collect();
    std::thread::sleep(SHORT * 2);
    for _ in 0..4 {
        room.close_stalled(&mut room.lock(), CONNECTION, None);
    }
    assert!(seats.iter().all(told_to_end) && room.shed() == 4);
    // Its request had arrived, and is read now.
    seats[1].note_progress();
    seats[1].hold(STEP).unwrap();
    assert_eq!(seats.iter().map(Seat::stays).collect::<Vec<_>>(), [false, true, false, false]);
    assert_eq!(room.shed(), 3);
    drop(seats);
    assert_eq!((room.connections(), room.memory()), (0, 0));
}
