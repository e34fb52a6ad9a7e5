//! What both ways of streaming a process say in JSON: how it ended, and how large a terminal is.

use control_api::stream::ExecInput;
use serde_json::{Value, json};

/// The status a process ends with.
pub fn exited(code: i32) -> Vec<u8> {
    if code == 0 {
        return json!({"metadata": {}, "status": "Success"}).to_string().into_bytes();
    }
    let status = json!({
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("command terminated with non-zero exit code: command terminated with exit code {code}"),
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
    });
    status.to_string().into_bytes()
}

pub fn failed(message: &str) -> Vec<u8> {
    let status =
        json!({"metadata": {}, "status": "Failure", "reason": "InternalError", "message": message, "code": 500});
    status.to_string().into_bytes()
}

/// `{"Width":80,"Height":24}`.
pub fn resize(data: &[u8]) -> Option<ExecInput> {
    let size: Value = serde_json::from_slice(data).ok()?;
    let number = |name: &str| size[name].as_u64().and_then(|number| u16::try_from(number).ok());
    Some(ExecInput::Resize { columns: number("Width")?, rows: number("Height")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_that_is_none_changes_nothing() {
        assert_eq!(resize(br#"{"Width":80,"Height":24}"#), Some(ExecInput::Resize { columns: 80, rows: 24 }));
        for wrong in [&b""[..], b"{}", br#"{"Width":-1,"Height":24}"#, br#"{"Width":70000,"Height":24}"#, b"[]"] {
            assert_eq!(resize(wrong), None);
        }
    }
}
