//! Clients that create, replace, delete and read a few ConfigMaps between them, and write down what they are answered.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tests::linear::{Action, Operation, Outcome};
use tests::luck::Luck;

use crate::client::{Access, Connection};
use crate::watchers::Story;

pub const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const KEYS: u64 = 3;
const RETRY: Duration = Duration::from_millis(5);

/// The order in which requests are sent and answered, over all clients.
#[derive(Default)]
pub struct Clock(AtomicU64);

impl Clock {
    pub fn tick(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }

    pub async fn reaches(&self, moment: u64) {
        while self.0.load(Ordering::SeqCst) < moment {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }
}

pub struct Client {
    access: Access,
    connection: Option<Connection>,
    clock: Arc<Clock>,
    story: Arc<Story>,
    history: u64,
    /// The newest revision that this client saw of a key; others may have gone on since.
    known: HashMap<String, u64>,
    luck: Luck,
}

impl Client {
    pub fn new(access: &Access, clock: &Arc<Clock>, story: &Arc<Story>, history: u64, luck: Luck) -> Self {
        Self {
            access: access.clone(),
            connection: None,
            clock: clock.clone(),
            story: story.clone(),
            history,
            known: HashMap::new(),
            luck,
        }
    }

    pub async fn run(mut self, operations: u64) -> Vec<Operation> {
        let mut answered = Vec::new();
        for _ in 0..operations {
            if self.luck.one_in(12) {
                let called = self.clock.tick();
                if let Ok(list) = self.story.list(&self.access).await {
                    self.story.remember(list, called, self.clock.tick());
                }
                continue;
            }
            let key = format!("h{}-{}", self.history, self.luck.below(KEYS));
            let action = self.choose(&key);
            let clock = self.clock.clone();
            let connection = self.connection().await;
            let called = clock.tick();
            let outcome = ask(connection, &key, action).await;
            let answer = clock.tick();
            match outcome {
                Outcome::Done(Some(revision)) | Outcome::Found { revision, .. } => {
                    self.known.insert(key.clone(), revision);
                }
                Outcome::Unknown => self.connection = None,
                _ => {}
            }
            let answer = if outcome == Outcome::Unknown { u64::MAX } else { answer };
            answered.push(Operation { key, action, outcome, called, answered: answer });
        }
        answered
    }

    fn choose(&mut self, key: &str) -> Action {
        let base = self.known.get(key).copied().filter(|_| !self.luck.one_in(4));
        let value = self.luck.draw() >> 1;
        match self.luck.below(10) {
            0..3 => Action::Create { value },
            3..6 => Action::Update { value, base },
            6..8 => Action::Delete { base },
            _ => Action::Get,
        }
    }

    /// A server that is away was not asked anything.
    async fn connection(&mut self) -> &mut Connection {
        if self.connection.is_none() {
            self.connection = Some(connect(&self.access).await);
        }
        self.connection.as_mut().unwrap()
    }
}

async fn connect(access: &Access) -> Connection {
    loop {
        if let Ok(connection) = access.connect().await {
            return connection;
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn config_map(name: &str, value: u64, base: Option<u64>) -> Bytes {
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"value": value.to_string()}});
    if let Some(base) = base {
        object["metadata"]["resourceVersion"] = base.to_string().into();
    }
    object.to_string().into()
}

/// Value and revision of a ConfigMap; zero where it has no value of ours.
pub fn version(object: &Value) -> (u64, u64) {
    let number = |text: Option<&str>| text.and_then(|text| text.parse().ok()).unwrap_or(0);
    (number(object["data"]["value"].as_str()), number(object["metadata"]["resourceVersion"].as_str()))
}

async fn ask(connection: &mut Connection, key: &str, action: Action) -> Outcome {
    let one = format!("{CONFIG_MAPS}/{key}");
    let (method, path, body) = match action {
        Action::Create { value } => (Method::POST, CONFIG_MAPS.to_owned(), config_map(key, value, None)),
        Action::Update { value, base } => (Method::PUT, one, config_map(key, value, base)),
        Action::Delete { base: None } => (Method::DELETE, one, Bytes::new()),
        Action::Delete { base: Some(base) } => {
            let options = json!({"apiVersion": "v1", "kind": "DeleteOptions",
                "preconditions": {"resourceVersion": base.to_string()}});
            (Method::DELETE, one, options.to_string().into())
        }
        Action::Get => (Method::GET, one, Bytes::new()),
    };
    let Ok((status, body)) = connection.exchange(method, &path, body).await else { return Outcome::Unknown };
    let Ok(object) = serde_json::from_slice::<Value>(&body) else { return Outcome::Unknown };
    let (value, revision) = version(&object);
    match (status, action) {
        (StatusCode::OK, Action::Get) => Outcome::Found { value, revision },
        (StatusCode::OK | StatusCode::CREATED, Action::Delete { .. }) => Outcome::Done(None),
        (StatusCode::OK | StatusCode::CREATED, _) => Outcome::Done(Some(revision)),
        (StatusCode::NOT_FOUND, _) => Outcome::Missing,
        (StatusCode::CONFLICT, Action::Create { .. }) => Outcome::Exists,
        (StatusCode::CONFLICT, _) => Outcome::Conflict,
        _ => panic!("{action:?} of {key} was answered with {status}: {object}"),
    }
}

/// Creates an object whatever it takes; its revision.
pub async fn create_surely(access: &Access, name: &str) -> u64 {
    loop {
        let mut connection = connect(access).await;
        let (create, get) = (Action::Create { value: 1 }, Action::Get);
        if let Outcome::Done(Some(revision)) = ask(&mut connection, name, create).await {
            return revision;
        }
        if let Outcome::Found { revision, .. } = ask(&mut connection, name, get).await {
            return revision;
        }
    }
}

/// Every ConfigMap goes, so that the next history begins with none and lists stay short.
pub async fn clean(access: &Access) {
    connect(access).await.delete(CONFIG_MAPS).await.unwrap();
}
