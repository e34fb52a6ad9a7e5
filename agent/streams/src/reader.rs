//! A log request answered from a container's files.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use control_api::stream::LogRequest;
use jiff::{Span, Timestamp};

use crate::files;
use crate::follow::{Alive, Changes};
use crate::line::Line;

/// Bytes handed on at a time.
const CHUNK_BYTES: usize = 32 << 10;
/// The longest line read; the writer cuts lines far below it.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// The most lines that `tail` keeps positions of.
const TAIL_LINES_MAX: u64 = 1_000_000;

/// Why a log cannot be read, worded for the user.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("previous terminated container {container:?} in pod {pod:?} not found")]
    NoPrevious { container: String, pod: String },
    #[error("the log of container {container:?} in pod {pod:?} is not there")]
    NoLog { container: String, pod: String },
    #[error("invalid sinceTime {0:?}: it must be as in RFC 3339")]
    Since(String),
    #[error("cannot read the log {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// One open log. Reading blocks only on the disk.
pub struct LogReader {
    request: LogRequest,
    since: Option<Timestamp>,
    folder: PathBuf,
    attempt: u32,
    files: VecDeque<PathBuf>,
    current: Option<BufReader<File>>,
    path: PathBuf,
    /// The lines still to be passed over, for `tail`.
    skip: u64,
    /// A line that its writer has not ended yet.
    pending: Vec<u8>,
    /// Bytes that may still be sent, for `limitBytes`.
    left: u64,
    /// The text of the last line was partial: what follows is of the same line and gets no timestamp.
    inside: bool,
}

impl LogReader {
    /// Opens the log of the newest start in `folder`, or with `previous` of the one before it.
    pub fn open(folder: &Path, request: LogRequest) -> Result<Self, LogError> {
        let attempts = files::attempts(folder).unwrap_or_default();
        let (container, pod) = (request.container.clone(), request.pod.clone());
        let attempt = match (request.previous, attempts.as_slice()) {
            (false, [.., newest]) => *newest,
            (true, [.., previous, _]) => *previous,
            (true, _) => return Err(LogError::NoPrevious { container, pod }),
            (false, []) => return Err(LogError::NoLog { container, pod }),
        };
        let mut reader = Self {
            since: since(&request)?,
            left: request.limit_bytes.unwrap_or(u64::MAX),
            folder: folder.to_owned(),
            attempt,
            files: VecDeque::new(),
            current: None,
            path: PathBuf::new(),
            skip: 0,
            pending: Vec::new(),
            inside: false,
            request,
        };
        reader.find_files()?;
        if let Some(tail) = reader.request.tail_lines {
            let all = reader.count_lines()?;
            reader.skip = all.saturating_sub(tail.min(TAIL_LINES_MAX));
            reader.find_files()?;
        }
        Ok(reader)
    }

    fn find_files(&mut self) -> Result<(), LogError> {
        let found = files::of_attempt(&self.folder, self.attempt);
        self.files = found.map_err(|source| LogError::Read { path: self.folder.clone(), source })?.into();
        self.current = None;
        Ok(())
    }

    fn trouble(&self) -> impl FnOnce(io::Error) -> LogError + use<> {
        let path = self.path.clone();
        move |source| LogError::Read { path, source }
    }

    /// Whole lines of the container in all files; partial ones count with the line that they begin.
    fn count_lines(&mut self) -> Result<u64, LogError> {
        let mut count = 0;
        let mut line = Vec::new();
        while self.read_line(&mut line)? {
            count += u64::from(self.wanted(&line).is_some_and(|line| !line.partial));
            line.clear();
        }
        self.pending.clear();
        Ok(count)
    }

    /// The next bytes for the user; none at the end of what is written so far.
    pub fn read(&mut self) -> Result<Option<Bytes>, LogError> {
        let mut out = BytesMut::new();
        let mut line = Vec::new();
        while out.len() < CHUNK_BYTES && self.left > 0 && self.read_line(&mut line)? {
            self.push(&mut out, &line);
            line.clear();
        }
        Ok((!out.is_empty()).then(|| out.freeze()))
    }

    fn push(&mut self, out: &mut BytesMut, line: &[u8]) {
        let Some(line) = self.wanted(line) else { return };
        if self.skip > 0 {
            self.skip -= u64::from(!line.partial);
            return;
        }
        let before = out.len();
        if self.request.timestamps && !self.inside {
            out.extend_from_slice(line.time);
            out.extend_from_slice(b" ");
        }
        out.extend_from_slice(line.text);
        if !line.partial {
            out.extend_from_slice(b"\n");
        }
        self.inside = line.partial;
        let added = (out.len() - before) as u64;
        if added > self.left {
            out.truncate(before + usize::try_from(self.left).unwrap_or(0));
        }
        self.left = self.left.saturating_sub(added);
    }

    fn wanted<'a>(&self, line: &'a [u8]) -> Option<Line<'a>> {
        let line = Line::parse(line)?;
        let Some(since) = self.since else { return Some(line) };
        let time: Timestamp = std::str::from_utf8(line.time).ok()?.parse().ok()?;
        (time >= since).then_some(line)
    }

    /// Reads one ended line without its newline; false at the end of the newest file.
    fn read_line(&mut self, line: &mut Vec<u8>) -> Result<bool, LogError> {
        loop {
            if self.current.is_none() && !self.open_next()? {
                return Ok(false);
            }
            let Some(file) = self.current.as_mut() else { return Ok(false) };
            let mut limited = io::Read::take(&mut *file, LINE_BYTES_MAX);
            let count = limited
                .read_until(b'\n', &mut self.pending)
                .map_err(|source| LogError::Read { path: self.path.clone(), source })?;
            if self.pending.last() == Some(&b'\n') {
                self.pending.pop();
                std::mem::swap(line, &mut self.pending);
                self.pending.clear();
                return Ok(true);
            }
            if count > 0 {
                continue;
            }
            if self.files.is_empty() {
                return Ok(false);
            }
            self.current = None;
            self.pending.clear();
        }
    }

    fn open_next(&mut self) -> Result<bool, LogError> {
        while let Some(path) = self.files.pop_front() {
            self.path = path;
            match File::open(&self.path) {
                Ok(file) => {
                    self.current = Some(BufReader::with_capacity(CHUNK_BYTES, file));
                    return Ok(true);
                }
                // Rotated away since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.trouble()(error)),
            }
        }
        Ok(false)
    }

    /// After a rotation: what is left of the old file was read, so the new one is next.
    fn rotated(&mut self) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt;
        let newest = self.folder.join(format!("{}.log", self.attempt));
        let Some(current) = &mut self.current else { return Ok(newest.exists()) };
        let (open, named) = (current.get_ref().metadata()?, newest.metadata()?);
        if open.ino() == named.ino() {
            // Cut short in place: begin again.
            if current.stream_position()? > named.len() {
                current.seek(SeekFrom::Start(0))?;
            }
            return Ok(false);
        }
        Ok(true)
    }

    /// Waits until there is more; false when there never will be.
    pub async fn more(&mut self, changes: &mut Changes, alive: &mut Alive) -> bool {
        if self.left == 0 {
            return false;
        }
        if self.rotated().unwrap_or(false) {
            self.files.push_back(self.folder.join(format!("{}.log", self.attempt)));
            self.current = None;
            return true;
        }
        // Looked at before the wait: what the container wrote last is read once more after its end.
        if !*alive.borrow() {
            return false;
        }
        tokio::select! {
            changed = changes.next() => changed.is_ok(),
            _ = alive.changed() => true,
        }
    }

    /// Gives everything to `sink` piece by piece, and with `follow` what comes later, until the container ends or the
    /// sink returns false.
    pub async fn run<F, S>(mut self, mut alive: Alive, mut sink: S) -> Result<(), LogError>
    where
        F: Future<Output = bool>,
        S: FnMut(Bytes) -> F,
    {
        let mut changes = Changes::of(&self.folder).map_err(self.trouble())?;
        loop {
            while let Some(bytes) = self.read()? {
                if !sink(bytes).await {
                    return Ok(());
                }
            }
            if !self.request.follow || !self.more(&mut changes, &mut alive).await {
                break;
            }
        }
        while let Some(bytes) = self.read()? {
            if !sink(bytes).await {
                break;
            }
        }
        Ok(())
    }
}

fn since(request: &LogRequest) -> Result<Option<Timestamp>, LogError> {
    if let Some(text) = &request.since_time {
        return text.parse().map(Some).map_err(|_| LogError::Since(text.clone()));
    }
    let Some(seconds) = request.since_seconds else { return Ok(None) };
    let span = Span::new().try_seconds(i64::try_from(seconds).unwrap_or(i64::MAX));
    Ok(span.and_then(|span| Timestamp::now().checked_sub(span)).ok())
}
