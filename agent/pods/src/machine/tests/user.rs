//! Whose processes a pod's containers were started as.

use super::*;

fn user(uid: u32) -> User {
    User { uid, gid: 7, additional_gids: vec![7, 4000] }
}

fn told(uid: u32) -> Value {
    json!({"linux": {"uid": uid, "gid": 7, "supplementalGroups": [7, 4000]}})
}

impl Story {
    fn run_as(&mut self, slot: usize, id: &str, uid: u32) -> &mut Self {
        self.image(slot).on(Event::Started { slot, container_id: id.to_owned(), user: user(uid) })
    }
}

#[test]
fn every_kind_of_container_tells_what_it_was_started_as_and_one_that_never_was_tells_nothing() {
    let mut story = Story::new(json!({
        "initContainers": [{"name": "i", "image": "x:1"}], "containers": [{"name": "a", "image": "x:1"}],
        "ephemeralContainers": [{"name": "look", "image": "x:1"}],
    }));
    story.up().run_as(0, "i0", 1).exit("i0", 0).run_as(2, "look0", 3);
    let status = story.status();
    assert_eq!(status["initContainerStatuses"][0]["user"], told(1), "it has ended, and was that");
    assert_eq!(status["ephemeralContainerStatuses"][0]["user"], told(3));
    assert_eq!(status["containerStatuses"][0].get("user"), None);
    story.run_as(1, "a0", 2);
    assert_eq!(story.status()["containerStatuses"][0]["user"], told(2));
    story.exit("a0", 1).later(60).run_as(1, "a1", 4);
    assert_eq!(story.status()["containerStatuses"][0]["user"], told(4), "the newest one's");
    story.exit("a1", 1).later(60).image(1);
    story.on(Event::StartFailed { slot: 1, reason: "StartError".to_owned(), message: String::new() });
    assert_eq!(story.status()["containerStatuses"][0].get("user"), None, "that one was nobody");
}

#[test]
fn a_restarted_agent_is_told_it_by_the_runtime() {
    for state in [FoundState::Running { since: at(0) }, FoundState::Exited(exit(0, 3))] {
        let found = Found { id: "a0".to_owned(), name: "a".to_owned(), attempt: 0, user: user(1), state };
        let mut starting = Story::new(policy("Never"));
        starting.up().image(0).on(Event::Begin { found: Some(vec![found.clone()]) });
        let mut unknown = Story::new(policy("Never"));
        unknown.up().run(0, "a0");
        let mut record = serde_json::to_value(&unknown.state).unwrap();
        record["slots"][0].as_object_mut().unwrap().remove("user").unwrap();
        unknown.state = serde_json::from_value(record).unwrap();
        unknown.on(Event::Begin { found: Some(vec![found]) });
        for story in [starting, unknown] {
            assert_eq!(story.status()["containerStatuses"][0]["user"], told(1));
        }
    }
}
