//! ZMTP messages over one stream. One step is one read or one write; whoever owns the wire decides what else happens between steps.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use omq_proto::Message;
use omq_proto::proto::{Connection, ConnectionConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::address::Stream;

/// Read at a time: little from a peer that says little, so that many such peers cost little; one step parses what it read, so the most
/// also bounds how long a step runs.
const READ_BYTES_MIN: usize = 1 << 10;
const READ_BYTES_MAX: usize = 64 << 10;

/// Why a wire ended.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The other side closed it.
    #[error("the peer closed the connection")]
    Closed,
    /// The system ended it.
    #[error(transparent)]
    System(#[from] io::Error),
    /// The other side does not keep to the protocol, or not to our bounds.
    #[error(transparent)]
    Protocol(#[from] omq_proto::Error),
}

/// One connection.
pub struct Wire {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    pub(crate) zmtp: Connection,
    input: BytesMut,
    /// Bytes of the next read.
    read_bytes: usize,
    output: Bytes,
}

impl Wire {
    pub fn new(stream: Stream, config: ConnectionConfig) -> Self {
        let (reader, writer): (Box<dyn AsyncRead + Send + Unpin>, Box<dyn AsyncWrite + Send + Unpin>) = match stream {
            Stream::Tcp(stream) => {
                let (reader, writer) = stream.into_split();
                (Box::new(reader), Box::new(writer))
            }
            Stream::Unix(stream) => {
                let (reader, writer) = stream.into_split();
                (Box::new(reader), Box::new(writer))
            }
        };
        Self { reader, writer, zmtp: Connection::new(config), input: BytesMut::new(), read_bytes: READ_BYTES_MIN, output: Bytes::new() }
    }

    /// Reads, or writes what waits, and parses what came. Cancel-safe. `may_read` holds the other side back while there is no room for what
    /// it would send.
    pub async fn step(&mut self, may_read: bool) -> Result<(), WireError> {
        self.transfer(may_read, READ_BYTES_MAX).await?;
        self.parse()
    }

    /// The transfer half of a step: reads up to `most` bytes, or writes.
    pub async fn transfer(&mut self, may_read: bool, most: usize) -> Result<(), WireError> {
        self.collect_output();
        let may_read = may_read && self.zmtp.accepts_input();
        let most = most.min(self.read_bytes);
        tokio::select! {
            read = read(&mut *self.reader, &mut self.input, most), if may_read => match read? {
                0 => return Err(WireError::Closed),
                count if count == self.read_bytes => self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX),
                count if count < self.read_bytes / 4 => self.read_bytes = (self.read_bytes / 2).max(READ_BYTES_MIN),
                _ => {}
            },
            written = self.writer.write(&self.output), if !self.output.is_empty() => match written? {
                0 => return Err(WireError::Closed),
                count => self.output.advance(count),
            },
            // Nothing may be read and nothing waits to be written: the owner goes on with something else.
            () = std::future::pending(), if !may_read && self.output.is_empty() => {}
        }
        Ok(())
    }

    /// The parsing half of a step.
    pub fn parse(&mut self) -> Result<(), WireError> {
        if self.zmtp.has_pending_input() {
            self.zmtp.resume_input()?;
        }
        if !self.input.is_empty() && self.zmtp.accepts_input() {
            self.zmtp.handle_input(self.input.split().freeze())?;
        }
        Ok(())
    }

    /// Waits for the other side to close or to send ahead of its turn; what it sends is kept for later.
    pub async fn watch(&mut self) -> Result<(), WireError> {
        match read(&mut *self.reader, &mut self.input, 1024).await? {
            0 => Err(WireError::Closed),
            _ => Ok(()),
        }
    }

    /// Bytes that came and are not parsed yet.
    pub fn unparsed(&self) -> usize {
        self.input.len()
    }

    /// The next message that came.
    pub fn next(&mut self) -> Option<Vec<Bytes>> {
        let mut message = self.zmtp.poll_message()?;
        let mut frames = Vec::with_capacity(message.len());
        while let Some(frame) = message.pop_front() {
            frames.push(frame);
        }
        Some(frames)
    }

    /// Queues a message. It leaves with the next steps.
    pub fn send(&mut self, frames: Vec<Bytes>) -> Result<(), WireError> {
        Ok(self.zmtp.send_message(&Message::multipart(frames))?)
    }

    /// Bytes that wait to be written.
    pub fn backlog(&self) -> usize {
        self.output.len() + self.zmtp.pending_transmit_size()
    }

    /// Writes what waits, for as long as it takes.
    pub async fn flush(&mut self) -> Result<(), WireError> {
        self.collect_output();
        while !self.output.is_empty() {
            let count = self.writer.write(&self.output).await?;
            if count == 0 {
                return Err(WireError::Closed);
            }
            self.output.advance(count);
            self.collect_output();
        }
        Ok(())
    }

    fn collect_output(&mut self) {
        if self.output.is_empty() && self.zmtp.has_pending_transmit() {
            self.output = self.zmtp.poll_transmit();
            self.zmtp.advance_transmit(self.output.len());
        }
    }
}

async fn read(reader: &mut (dyn AsyncRead + Send + Unpin), into: &mut BytesMut, most: usize) -> io::Result<usize> {
    into.reserve(most);
    reader.take(most as u64).read_buf(into).await
}
