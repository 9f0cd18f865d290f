//! How everybody else reaches an event loop: messages in an inbox, and tickets that say which request they are about.
//!
//! INVARIANT: a loop that sleeps is woken by the first message, or at the end of what is sent `together`; while its inbox holds
//! any, it does not sleep.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use mio::net::TcpStream;
use mio::{Poll, Token, Waker};
use replica::lock::Lock;
use replica::purgatory::Wake;

use crate::upcall::Ticket;

pub enum Message {
    Accepted {
        stream: TcpStream,
        peer: SocketAddr,
        listener: usize,
    },
    Respond {
        ticket: Ticket,
        body: Bytes,
        close: bool,
    },
    /// The coordinator's word on each partition of a request that waited for it.
    Verified {
        ticket: Ticket,
        errors: Vec<i16>,
    },
    Woken(Ticket),
    /// What a connection was to send is in memory.
    Brought(Ticket),
    /// There is room in the queue of upcalls, or under the limit of queued bytes, again.
    RoomAgain,
    Stop,
}

/// How everybody else reaches a loop.
pub struct Inbox {
    index: usize,
    letters: Lock<Letters>,
    waker: Arc<Waker>,
}

thread_local! {
    /// Loops that this thread has yet to wake, while it sends `together`.
    static TO_WAKE: RefCell<Option<Vec<Arc<Waker>>>> = const { RefCell::new(None) };
}

/// What `act` sends from this thread wakes each loop once, when all of it is there: a loop that is woken by the first message
/// takes the processor from whoever is about to send the second. Within another's `act` it is part of that.
pub fn together<T>(act: impl FnOnce() -> T) -> T {
    /// Wakes them even where `act` panics.
    struct AtTheEnd;
    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            let to_wake = TO_WAKE.with_borrow_mut(Option::take).unwrap_or_default();
            for waker in to_wake {
                let _ = waker.wake();
            }
        }
    }
    let is_within = TO_WAKE.with_borrow_mut(|to_wake| {
        let is_within = to_wake.is_some();
        to_wake.get_or_insert_default();
        is_within
    });
    if is_within {
        return act();
    }
    let _at_the_end = AtTheEnd;
    act()
}

#[derive(Default)]
struct Letters {
    messages: Vec<Message>,
    /// The loop waits for its sockets, and nobody has woken it yet.
    asleep: bool,
}

impl Inbox {
    pub fn new(index: usize, poll: &Poll, token: Token) -> io::Result<Inbox> {
        Ok(Inbox { index, letters: Lock::default(), waker: Arc::new(Waker::new(poll.registry(), token)?) })
    }

    pub fn send(&self, message: Message) {
        let mut letters = self.letters.lock();
        letters.messages.push(message);
        let must_wake = std::mem::take(&mut letters.asleep);
        drop(letters);
        if must_wake {
            TO_WAKE.with_borrow_mut(|to_wake| match to_wake {
                Some(later) => later.push(self.waker.clone()),
                None => drop(self.waker.wake()),
            });
        }
    }

    pub fn take(&self) -> Vec<Message> {
        std::mem::take(&mut self.letters.lock().messages)
    }

    /// The loop is about to wait. False if there is something to be read first; else it is woken by the next message.
    pub fn may_sleep(&self) -> bool {
        let mut letters = self.letters.lock();
        letters.asleep = letters.messages.is_empty();
        letters.asleep
    }

    pub fn awake(&self) {
        self.letters.lock().asleep = false;
    }

    /// A ticket of this loop.
    pub fn ticket(&self, key: usize, number: u32) -> Ticket {
        (self.index as u64) << 56 | (key as u64 & KEY_MAX as u64) << 32 | u64::from(number)
    }
}

impl Wake for Inbox {
    fn wake(&self, ticket: u64) {
        self.send(Message::Woken(ticket));
    }
}

// A ticket names the loop, the connection, and a request of it that never comes again.

/// Connections of a loop are numbered up to this.
pub const KEY_MAX: usize = 0xff_ffff;

pub fn reactor_of(ticket: Ticket) -> usize {
    (ticket >> 56) as usize
}

pub fn key_of(ticket: Ticket) -> usize {
    (ticket >> 32) as usize & KEY_MAX
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mio::Events;

    use super::*;

    fn woken(poll: &mut Poll) -> bool {
        let mut events = Events::with_capacity(1);
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        !events.is_empty()
    }

    #[test]
    fn only_a_loop_that_sleeps_is_woken_and_only_once() {
        let mut poll = Poll::new().unwrap();
        let inbox = Inbox::new(3, &poll, Token(7)).unwrap();
        inbox.send(Message::RoomAgain);
        assert!(!woken(&mut poll), "it reads its inbox before it sleeps");
        assert!(!inbox.may_sleep(), "there is a message");
        assert_eq!(inbox.take().len(), 1);
        assert!(inbox.may_sleep());
        inbox.send(Message::Stop);
        assert!(woken(&mut poll));
        inbox.send(Message::Stop);
        assert!(!woken(&mut poll), "it is awake already");
    }

    #[test]
    fn what_is_sent_together_wakes_a_loop_at_the_end() {
        let mut poll = Poll::new().unwrap();
        let inbox = Inbox::new(3, &poll, Token(7)).unwrap();
        assert!(inbox.may_sleep());
        together(|| {
            inbox.send(Message::RoomAgain);
            assert!(!woken(&mut poll));
            inbox.send(Message::RoomAgain);
        });
        assert!(woken(&mut poll));
        assert_eq!(inbox.take().len(), 2);
        assert!(inbox.may_sleep());
        inbox.send(Message::RoomAgain);
        assert!(woken(&mut poll), "later ones wake it at once again");
    }

    #[test]
    fn what_is_sent_together_within_such_a_sending_loses_nobodys_wake_up() {
        let mut poll = Poll::new().unwrap();
        let inbox = Inbox::new(3, &poll, Token(7)).unwrap();
        assert!(inbox.may_sleep());
        together(|| {
            inbox.send(Message::RoomAgain);
            together(|| inbox.send(Message::RoomAgain));
            assert!(!woken(&mut poll), "the outer one is not done");
        });
        assert!(woken(&mut poll));
    }

    #[test]
    fn a_ticket_names_its_loop_and_its_connection() {
        let poll = Poll::new().unwrap();
        let ticket = Inbox::new(3, &poll, Token(7)).unwrap().ticket(0x12_3456, u32::MAX);
        assert_eq!((reactor_of(ticket), key_of(ticket)), (3, 0x12_3456));
    }
}
