//! Token reviews: whose token is this, and is it meant for me.

use control_api::Status;
use serde_json::{Value, json};

use super::user_info;
use crate::api::Api;
use crate::authenticate::authenticated;
use crate::bearer::{api_audiences, bearer};

pub fn review(api: &Api, body: &Value) -> Result<Value, Status> {
    let token = body["spec"]["token"].as_str().unwrap_or_default();
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let asked = body["spec"]["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut wanted: Vec<String> = asked.map(str::to_owned).collect();
    if wanted.is_empty() {
        wanted = api_audiences();
    }
    let found = match bearer(api, token) {
        Ok(found) => found,
        Err(why) => return Ok(json!({"user": {}, "error": why})),
    };
    let meant_for = found.meant_for(&wanted);
    if meant_for.is_empty() {
        let own = found.audiences.unwrap_or_default();
        let why = format!("token audiences {own:?} is invalid for the target audiences {wanted:?}");
        return Ok(json!({"user": {}, "error": why}));
    }
    Ok(json!({"authenticated": true, "user": user_info(&authenticated(found.user)), "audiences": meant_for}))
}
