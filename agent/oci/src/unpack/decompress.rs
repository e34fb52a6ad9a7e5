use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The last three bytes of a frame that decoders skip; its first is 0x50 to 0x5f.
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];
/// Zstandard's `--ultra --long` reaches further, but a node would need that much memory for each layer.
const ZSTD_WINDOW_BYTES_MAX: u64 = 64 << 20;
const BUFFER_BYTES: usize = 64 << 10;

/// Reads what is compressed by its first bytes, whatever its media type says.
pub(crate) fn decompress<'a>(input: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut input = BufReader::with_capacity(BUFFER_BYTES, input);
    let start = input.fill_buf()?;
    Ok(if start.starts_with(&GZIP_MAGIC) {
        Box::new(MultiGzDecoder::new(input))
    } else if start.starts_with(&ZSTD_MAGIC) || is_skippable(start) {
        Box::new(ZstdFrames { state: State::Between(Some(input)) })
    } else {
        Box::new(input)
    })
}

fn is_skippable(start: &[u8]) -> bool {
    start.len() >= 4 && start[0] & 0xf0 == 0x50 && start[1..4] == ZSTD_SKIPPABLE
}

/// A zstd layer may be many frames, with skippable ones between (as zstd:chunked has); the decoder knows one.
struct ZstdFrames<R: BufRead> {
    state: State<R>,
}

enum State<R: BufRead> {
    Between(Option<R>),
    Inside(Box<StreamingDecoder<R, ruzstd::decoding::FrameDecoder>>),
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match &mut self.state {
                State::Between(input) => {
                    let mut from = input.take().ok_or_else(|| io::Error::other("zstd: read on after an error"))?;
                    let start = from.fill_buf()?;
                    if start.is_empty() {
                        *input = Some(from);
                        return Ok(0);
                    }
                    if is_skippable(start) {
                        skip(&mut from)?;
                        *input = Some(from);
                        continue;
                    }
                    let decoder = StreamingDecoder::new_with_max_window_size(from, ZSTD_WINDOW_BYTES_MAX)
                        .map_err(io::Error::other)?;
                    self.state = State::Inside(Box::new(decoder));
                }
                State::Inside(decoder) => {
                    let count = decoder.read(buffer)?;
                    if count > 0 {
                        return Ok(count);
                    }
                    let State::Inside(decoder) = std::mem::replace(&mut self.state, State::Between(None)) else {
                        continue;
                    };
                    self.state = State::Between(Some(decoder.into_inner()));
                }
            }
        }
    }
}

fn skip(from: &mut impl BufRead) -> io::Result<()> {
    let mut header = [0; 8];
    from.read_exact(&mut header)?;
    let length = u64::from(u32::from_le_bytes([header[4], header[5], header[6], header[7]]));
    io::copy(&mut from.by_ref().take(length), &mut io::sink())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        decompress(bytes)?.take(1 << 20).read_to_end(&mut plain)?;
        Ok(plain)
    }

    #[test]
    fn gzip_of_many_members_zstd_of_many_frames_and_plain_bytes_are_told_apart() {
        let gzip = |text: &str| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        };
        assert_eq!(read(&[gzip("one "), gzip("two")].concat()).unwrap(), b"one two");
        let zstd = |text: &str| {
            ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest)
        };
        let skippable = [&[0x53][..], &ZSTD_SKIPPABLE, &3u32.to_le_bytes(), b"xyz"].concat();
        assert_eq!(read(&[zstd("one "), skippable.clone(), zstd("two")].concat()).unwrap(), b"one two");
        assert_eq!(read(&[skippable, zstd("three")].concat()).unwrap(), b"three");
        assert_eq!(read(b"plain").unwrap(), b"plain");
        assert_eq!(read(b"").unwrap(), b"");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(head in 0usize..3, body in proptest::collection::vec(any::<u8>(), 0..600)) {
            let magic: &[u8] = [&GZIP_MAGIC[..], &ZSTD_MAGIC, &[0x50, 0x2a, 0x4d, 0x18]][head];
            let _ = read(&[magic, &body].concat());
        }
    }
}
