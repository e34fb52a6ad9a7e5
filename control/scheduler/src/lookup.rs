//! Asking a node which platforms an image is for.

use std::collections::BTreeMap;

use control_api::image::question::{SECRETS_BYTES_MAX, SECRETS_MAX};
use control_api::image::{PlatformsAnswer, PlatformsRequest};
use control_api::resource::SECRETS;
use control_api::view::core::Secret;
use control_client::{Client, view};

use crate::platforms::{Answer, Lookup, Question};
use crate::pod::PodInfo;

/// Nodes that are asked one after the other where one cannot be reached.
const NODES_MAX: usize = 3;

/// An image as this pod asks for it. A secret that is not there is passed over, as by the node.
pub fn lookup(client: &Client, pod: &PodInfo, image: &str) -> Lookup {
    let namespace = &pod.key.namespace;
    let found = pod.pull_secrets.iter().filter_map(|name| Some((name, client.get(&SECRETS, namespace, name)?)));
    let secrets = found.map(|(name, secret)| (namespace.to_string(), name.clone(), secret.revision)).collect();
    Lookup { image: image.to_owned(), secrets }
}

/// Asks the first node that can be reached. All of them are nodes that the pod may come to, so that none sees a secret
/// that it could not see anyway.
pub async fn ask(client: Client, question: Question) -> (Lookup, Answer) {
    let Question { lookup, nodes } = question;
    let secrets = contents(&client, &lookup);
    let mut why = "no node can be asked".to_owned();
    for node in nodes.iter().take(NODES_MAX) {
        let request = PlatformsRequest { image: lookup.image.clone(), secrets: secrets.clone() };
        let answer = match client.image_platforms(node, request).await {
            Ok(PlatformsAnswer::Known(platforms)) => Answer::Platforms(platforms),
            Ok(PlatformsAnswer::Unknowable { message }) => {
                tracing::debug!(image = lookup.image, message, "an image's platforms cannot be known");
                Answer::Unknowable
            }
            Ok(PlatformsAnswer::Unreachable { message }) => Answer::None(message),
            Err(status) => {
                why = status.message;
                continue;
            }
        };
        return (lookup, answer);
    }
    (lookup, Answer::None(why))
}

fn contents(client: &Client, lookup: &Lookup) -> Vec<Vec<u8>> {
    let mut bytes = 0;
    let found = lookup.secrets.iter().filter_map(|(namespace, name, _)| {
        let object = client.get(&SECRETS, namespace, name)?;
        let secret: Secret = view(&object).ok()?;
        let mut data: BTreeMap<_, _> = secret.data?;
        let content = data.remove(".dockerconfigjson").or_else(|| data.remove(".dockercfg"))?;
        Some(content.0)
    });
    let fits = |content: &Vec<u8>| {
        bytes += content.len();
        bytes <= SECRETS_BYTES_MAX
    };
    found.take(SECRETS_MAX).take_while(fits).collect()
}
