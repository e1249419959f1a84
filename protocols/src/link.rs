//! The contract of a device protocol's framing, acknowledgement and retry machine, free of I/O.

use crate::moment::Moment;

/// One device conversation: a request goes out as frames, input bytes come in, a reply or an error comes back.
///
/// The caller drives it so: [`Link::send`], then write every [`Link::poll_transmit`]; on input bytes call
/// [`Link::handle_input`], when [`Link::poll_timeout`] is reached call [`Link::handle_timeout`], after each of them
/// drain `poll_transmit` and look at [`Link::poll_reply`]. One request is under way at a time.
pub trait Link {
    /// A typed command to the device.
    type Request;
    /// What the device answered.
    type Reply;
    /// Why there is no answer.
    type Error;

    /// Begins `request`. A request still under way is given up without a reply.
    fn send(&mut self, now: Moment, request: Self::Request);

    /// Takes bytes that the device sent, in pieces of any size.
    fn handle_input(&mut self, now: Moment, input: &[u8]);

    /// Tells the link that time has passed; called at or after [`Link::poll_timeout`].
    fn handle_timeout(&mut self, now: Moment);

    /// The next bytes to write to the device, in order; `None` when there are none.
    fn poll_transmit(&mut self) -> Option<Vec<u8>>;

    /// When [`Link::handle_timeout`] wants to be called; `None` while nothing is awaited.
    fn poll_timeout(&self) -> Option<Moment>;

    /// The end of the request under way, once there is one.
    fn poll_reply(&mut self) -> Option<Result<Self::Reply, Self::Error>>;

    /// Gives up the request under way and tells the device so where its protocol can; afterwards `poll_transmit` may
    /// hold the bytes that do it. No reply follows.
    fn abort(&mut self, now: Moment);

    /// Forgets everything that was received or under way, as after opening the port anew.
    fn reset(&mut self);
}
