//! A guest's shell on its second serial port, which goes on whatever happens to the network.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use crate::program::{Said, eventually};

const BOOT_SECONDS_MAX: u64 = 60;
/// Of one command.
const ANSWER_SECONDS_MAX: Duration = Duration::from_secs(90);

/// To be run in the guest: answers each line with its exit code and the lengths of both outputs, and these.
pub(super) const LOOP: &str = r#"stty -F /dev/ttyS1 raw -echo
exec 3<>/dev/ttyS1
echo ready >&3
set +e
while read -r line <&3; do
  sh -c "$line" </dev/null >/tmp/shell.out 2>/tmp/shell.err
  echo "$? $(wc -c </tmp/shell.out) $(wc -c </tmp/shell.err)" >&3
  cat /tmp/shell.out /tmp/shell.err >&3
done
"#;

pub(super) struct Shell(BufReader<UnixStream>);

impl Shell {
    /// Waits until the guest's loop says that it is there; `console` is what to show where it does not.
    pub fn reach(socket: &Path, qemu: &mut Child, console: impl Fn() -> String) -> Self {
        let mut shell = None;
        eventually("QEMU runs", BOOT_SECONDS_MAX, || {
            shell = UnixStream::connect(socket).ok();
            assert!(matches!(qemu.try_wait(), Ok(None)), "QEMU ended");
            shell.is_some()
        });
        let shell = shell.expect("it was just connected");
        shell.set_read_timeout(Some(Duration::from_secs(BOOT_SECONDS_MAX))).expect("a socket has timeouts");
        let mut shell = BufReader::new(shell);
        let mut line = String::new();
        // The firmware and the kernel may have written to the port before.
        while !line.ends_with("ready\n") {
            line.clear();
            let read = shell.read_line(&mut line);
            assert!(read.is_ok_and(|count| count > 0), "the guest did not boot:\n{}", console());
        }
        shell.get_ref().set_read_timeout(Some(ANSWER_SECONDS_MAX)).expect("a socket has timeouts");
        Self(shell)
    }

    /// Gives a line without waiting for its end.
    pub fn tell(&mut self, line: &str) -> std::io::Result<()> {
        assert!(!line.contains('\n'), "one line: {line}");
        self.0.get_mut().write_all(format!("{line}\n").as_bytes())
    }

    pub fn ask(&mut self, machine: &str, line: &str) -> std::io::Result<Said> {
        self.tell(line)?;
        let mut head = String::new();
        self.0.read_line(&mut head)?;
        let mut numbers = head.split_whitespace().map(|word| word.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        let (code, lengths) = (next(), [next(), next()]);
        let mut text = |length: i32| -> std::io::Result<String> {
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
            self.0.read_exact(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let (out, err) = (text(lengths[0])?, text(lengths[1])?);
        Ok(Said::in_place(machine, line, code, out, err))
    }
}
