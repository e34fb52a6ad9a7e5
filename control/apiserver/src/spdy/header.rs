//! Headers: a zlib stream that goes on over all frames of a direction, begun with the dictionary of the specification.

use flate2::{Decompress, FlushDecompress, Status};

use super::SpdyError;

/// Decompressed headers of one frame.
const HEADER_BYTES_MAX: usize = 8 << 10;
const HEADERS_MAX: usize = 32;

/// Of SPDY's dictionary: names and values of HTTP, each behind its length.
const WORDS: &[&str] = &[
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
    "200 OK",
    "version",
    "HTTP/1.1",
    "url",
    "public",
    "set-cookie",
    "keep-alive",
    "origin",
];

/// Its end has no lengths.
const TAIL: &str = "1001012012022052063003023033043053063074024054064074084094104114124134144154164175025045052\
    03 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden\
    404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug \
    Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,\
    application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdch\
    charset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

/// The beginning of every zlib stream: deflate, a window of 32 KiB, no dictionary.
const ZLIB_HEAD: [u8; 2] = [0x78, 0x01];

fn dictionary() -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in WORDS {
        bytes.extend_from_slice(&(word.len() as u32).to_be_bytes());
        bytes.extend_from_slice(word.as_bytes());
    }
    bytes.extend_from_slice(TAIL.as_bytes());
    bytes
}

/// Names in lower case with their values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The first value, or the empty string.
    pub fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }

    fn parse(block: &[u8]) -> Result<Self, SpdyError> {
        fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], SpdyError> {
            rest.split_off(..length).ok_or(SpdyError::Malformed("its headers are cut off"))
        }
        fn number(rest: &mut &[u8]) -> Result<usize, SpdyError> {
            let bytes = take(rest, 4)?;
            Ok(bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
        }
        let mut rest = block;
        let count = number(&mut rest)?;
        if count > HEADERS_MAX {
            return Err(SpdyError::Malformed("it has too many headers"));
        }
        let mut text = || -> Result<String, SpdyError> {
            let length = number(&mut rest)?;
            Ok(String::from_utf8_lossy(take(&mut rest, length)?).into_owned())
        };
        let mut headers = Vec::with_capacity(count);
        for _ in 0..count {
            headers.push((text()?.to_ascii_lowercase(), text()?));
        }
        Ok(Self(headers))
    }
}

/// Decompresses what a peer sends, frame after frame.
#[derive(Debug)]
pub struct HeaderReader(Decompress);

impl Default for HeaderReader {
    fn default() -> Self {
        Self(Decompress::new(true))
    }
}

impl HeaderReader {
    pub fn read(&mut self, compressed: &[u8]) -> Result<Headers, SpdyError> {
        let mut block = Vec::with_capacity(HEADER_BYTES_MAX);
        let mut rest = compressed;
        while !rest.is_empty() {
            let before = self.0.total_in();
            let result = self.0.decompress_vec(rest, &mut block, FlushDecompress::Sync);
            let taken = (self.0.total_in() - before) as usize;
            rest = &rest[taken..];
            match result {
                Ok(Status::Ok) if taken > 0 && block.len() < block.capacity() => {}
                Ok(Status::BufError) if rest.is_empty() => {}
                Ok(_) => return Err(SpdyError::Malformed("its headers do not end, or are too long")),
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&dictionary()).map_err(SpdyError::Compression)?;
                }
                Err(error) => return Err(SpdyError::Compression(error)),
            }
        }
        Headers::parse(&block)
    }
}

/// No headers, `first` in their direction or not: a block that is only stored, so that nothing has to be compressed.
pub fn none(first: bool) -> Vec<u8> {
    // The empty block behind it is a flush: Go's decompressor gives nothing out before, and remembers a missing one as
    // an error for ever.
    let stored = [0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    let head: &[u8] = if first { &ZLIB_HEAD } else { &[] };
    [head, &stored].concat()
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    /// A peer's side.
    struct Writer(Compress);

    impl Writer {
        fn new() -> Self {
            let mut compress = Compress::new(Compression::best(), true);
            compress.set_dictionary(&dictionary()).unwrap();
            Self(compress)
        }

        fn write(&mut self, headers: &[(&str, &str)]) -> Vec<u8> {
            let mut block = (headers.len() as u32).to_be_bytes().to_vec();
            for text in headers.iter().flat_map(|(name, value)| [name, value]) {
                block.extend_from_slice(&(text.len() as u32).to_be_bytes());
                block.extend_from_slice(text.as_bytes());
            }
            let mut out = Vec::with_capacity(block.len() + 128);
            self.0.compress_vec(&block, &mut out, FlushCompress::Sync).unwrap();
            out
        }
    }

    #[test]
    fn the_dictionary_is_that_of_the_specification() {
        // Adler-32 of it, which every zlib stream that uses it names.
        let mut compress = Compress::new(Compression::best(), true);
        assert_eq!(compress.set_dictionary(&dictionary()).unwrap(), 0xe3c6_a7c2);
        assert_eq!(dictionary().len(), 1423);
    }

    #[test]
    fn headers_of_one_frame_after_another_are_read() {
        let (mut writer, mut reader) = (Writer::new(), HeaderReader::default());
        for kind in ["error", "stdin", "stdout", "stdout"] {
            let headers = reader.read(&writer.write(&[("streamtype", kind), ("port", "80")])).unwrap();
            assert_eq!((headers.text("streamtype"), headers.text("port"), headers.text("none")), (kind, "80", ""));
        }
    }

    #[test]
    fn no_headers_are_read_as_none_the_first_time_and_later() {
        let mut reader = HeaderReader::default();
        for first in [true, false, false] {
            assert_eq!(reader.read(&none(first)).unwrap(), Headers::default());
        }
    }

    #[test]
    fn headers_that_swell_or_lie_are_refused() {
        let long = "a".repeat(HEADER_BYTES_MAX);
        let read = |headers: &[(&str, &str)]| HeaderReader::default().read(&Writer::new().write(headers));
        assert!(matches!(read(&[("a", &long)]), Err(SpdyError::Malformed(_))));
        assert!(matches!(read(&[("a", "b"); 40]), Err(SpdyError::Malformed(_))));
        assert!(matches!(HeaderReader::default().read(b"nonsense"), Err(SpdyError::Compression(_))));
        assert!(matches!(HeaderReader::default().read(&[]), Err(SpdyError::Malformed(_))));
        assert!(matches!(Headers::parse(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]), Err(SpdyError::Malformed(_))));
    }
}
