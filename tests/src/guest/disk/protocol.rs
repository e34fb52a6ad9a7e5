//! The server's side of NBD, as far as QEMU uses it: the fixed newstyle handshake and simple replies.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};

use super::cache::WriteCache;

const OPTION_MAGIC: u64 = u64::from_be_bytes(*b"IHAVEOPT");
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;
const OPTION_INFO: u32 = 6;
const OPTION_GO: u32 = 7;
const REPLY_ACK: u32 = 1;
const REPLY_INFO: u32 = 3;
const REPLY_UNSUPPORTED: u32 = 1 << 31 | 1;
/// HAS_FLAGS, SEND_FLUSH, SEND_FUA, SEND_WRITE_ZEROES.
const EXPORT_FLAGS: u16 = 1 | 1 << 2 | 1 << 3 | 1 << 6;
const FORCE_UNIT_ACCESS: u16 = 1;
const INVALID: u32 = 22;
/// QEMU's own limit of one request.
const REQUEST_BYTES_MAX: u32 = 32 << 20;
const ZEROES_BYTES_MAX: usize = 1 << 20;

/// Serves until the client says farewell; an error where it just went away.
pub fn serve(mut stream: UnixStream, cache: &mut WriteCache, written: &AtomicU64) -> io::Result<()> {
    shake_hands(&mut stream, cache.size_bytes())?;
    let mut buffer = Vec::new();
    loop {
        let magic = u32::from_be_bytes(take(&mut stream)?);
        let flags = u16::from_be_bytes(take(&mut stream)?);
        let command = u16::from_be_bytes(take(&mut stream)?);
        let handle: [u8; 8] = take(&mut stream)?;
        let offset = u64::from_be_bytes(take(&mut stream)?);
        let length = u32::from_be_bytes(take(&mut stream)?);
        // Zeroes bring no bytes along and may be many.
        if magic != REQUEST_MAGIC || (command < 2 && length > REQUEST_BYTES_MAX) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        buffer.clear();
        let mut error = 0;
        match command {
            0 => {
                buffer.resize(length as usize, 0);
                if cache.read(offset, &mut buffer).is_err() {
                    (error, buffer) = (INVALID, Vec::new());
                }
            }
            1 => {
                buffer.resize(length as usize, 0);
                stream.read_exact(&mut buffer)?;
                written.fetch_add(u64::from(length), Ordering::Relaxed);
                cache.write(offset, &buffer);
                buffer.clear();
            }
            2 => return Ok(()),
            3 => cache.flush(),
            6 => zero(cache, offset, length as usize),
            _ => error = INVALID,
        }
        if flags & FORCE_UNIT_ACCESS != 0 {
            cache.flush();
        }
        let mut reply = REPLY_MAGIC.to_be_bytes().to_vec();
        reply.extend(u32::to_be_bytes(error));
        reply.extend(handle);
        stream.write_all(&reply)?;
        stream.write_all(&buffer)?;
    }
}

fn zero(cache: &mut WriteCache, offset: u64, length: usize) {
    let mut done = 0;
    while done < length {
        let piece = (length - done).min(ZEROES_BYTES_MAX);
        cache.write(offset + done as u64, &vec![0; piece]);
        done += piece;
    }
}

fn shake_hands(stream: &mut UnixStream, size_bytes: u64) -> io::Result<()> {
    stream.write_all(b"NBDMAGICIHAVEOPT")?;
    // FIXED_NEWSTYLE and NO_ZEROES.
    stream.write_all(&3_u16.to_be_bytes())?;
    let _flags: [u8; 4] = take(stream)?;
    loop {
        let magic = u64::from_be_bytes(take(stream)?);
        let option = u32::from_be_bytes(take(stream)?);
        let length = u32::from_be_bytes(take(stream)?);
        if magic != OPTION_MAGIC || length > REQUEST_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        stream.read_exact(&mut vec![0; length as usize])?;
        if !matches!(option, OPTION_INFO | OPTION_GO) {
            answer(stream, option, REPLY_UNSUPPORTED, &[])?;
            continue;
        }
        // What is told about is the export itself: kind 0.
        let mut export = vec![0, 0];
        export.extend(size_bytes.to_be_bytes());
        export.extend(EXPORT_FLAGS.to_be_bytes());
        answer(stream, option, REPLY_INFO, &export)?;
        answer(stream, option, REPLY_ACK, &[])?;
        if option == OPTION_GO {
            return Ok(());
        }
    }
}

fn answer(stream: &mut UnixStream, option: u32, kind: u32, data: &[u8]) -> io::Result<()> {
    let mut reply = OPTION_REPLY_MAGIC.to_be_bytes().to_vec();
    reply.extend(option.to_be_bytes());
    reply.extend(kind.to_be_bytes());
    reply.extend(u32::try_from(data.len()).unwrap_or(0).to_be_bytes());
    reply.extend(data);
    stream.write_all(&reply)
}

fn take<const N: usize>(stream: &mut UnixStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}
