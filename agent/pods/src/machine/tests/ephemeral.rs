//! Ephemeral containers: they come when the pod is up already, run once, and nothing waits for them.

use super::*;

fn with_one(mut story: Story) -> Story {
    let one = json!({"name": "look", "image": "x:2", "targetContainerName": "a"});
    let spec = story.pod.spec.as_mut().unwrap();
    spec.ephemeral_containers = Some(vec![serde_json::from_value(one).unwrap()]);
    story
}

#[test]
fn one_that_is_added_starts_and_is_never_restarted() {
    let mut story = Story::new(one());
    story.up().run(0, "a0");
    let mut story = with_one(story);
    assert!(story.on(Event::Changed).asks(&Effect::EnsureImage { slot: 1 }));
    assert!(story.image(1).asks(&Effect::Start { slot: 1, attempt: 0 }));
    story.on(started(1, "look0"));
    let status = story.status();
    assert_eq!(status["containerStatuses"].as_array().unwrap().len(), 1);
    assert!(status["ephemeralContainerStatuses"][0]["state"]["running"].is_object(), "{status}");
    story.exit("look0", 1).later(600);
    assert!(!story.asks(&Effect::EnsureImage { slot: 1 }));
    let status = story.status();
    assert_eq!(status["ephemeralContainerStatuses"][0]["state"]["terminated"]["exitCode"], 1);
    assert_eq!((&status["phase"], story.condition("Ready").0.as_str()), (&json!("Running"), "True"));
}

#[test]
fn a_pod_that_ends_takes_it_along() {
    let mut story = Story::new(policy("Never"));
    story.up().run(0, "a0");
    let mut story = with_one(story);
    story.on(Event::Changed).run(1, "look0").exit("a0", 0);
    let stop = Effect::Signal { container_id: "look0".to_owned(), slot: 1, signal: Signal::Stop };
    assert!(story.asks(&stop), "{:?}", story.effects);
    assert!(story.exit("look0", 137).asks(&Effect::TearDown));
    assert_eq!(story.status()["phase"], "Succeeded");
}

#[test]
fn it_waits_for_no_init_container_and_does_not_come_back_after_a_reboot() {
    let mut story = Story::new(json!({
        "initContainers": [{"name": "i", "image": "x:1"}], "containers": [{"name": "a", "image": "x:1"}],
    }));
    story.up();
    let mut story = with_one(story);
    assert!(story.on(Event::Changed).asks(&Effect::EnsureImage { slot: 2 }));
    story.run(2, "look0").exit("look0", 0);
    story.on(Event::Begin { found: None }).up();
    assert!(!story.asks(&Effect::EnsureImage { slot: 2 }));
}
