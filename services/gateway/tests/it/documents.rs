//! The description of the public API.

use std::collections::BTreeSet;

use serde_json::Value;

#[test]
fn the_committed_description_is_current() {
    let fresh = gateway::openapi::document();
    assert!(
        fresh == gateway::openapi::COMMITTED,
        "openapi.json is stale: cargo run -p gateway -- openapi > services/gateway/openapi.json"
    );
    assert_eq!(
        fresh,
        gateway::openapi::document(),
        "the same contract gives the same text"
    );
}

#[test]
fn every_operation_is_described_in_full() {
    let document: Value = serde_json::from_str(gateway::openapi::COMMITTED).unwrap();
    let mut ids = BTreeSet::new();
    let mut count = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (verb, operation) in operations.as_object().unwrap() {
            count += 1;
            let what = format!("{verb} {path}");
            assert!(
                ids.insert(operation["operationId"].as_str().unwrap().to_owned()),
                "{what}"
            );
            assert!(
                !operation["summary"].as_str().unwrap().is_empty(),
                "{what} has no summary: comment the method"
            );
            let responses = operation["responses"].as_object().unwrap();
            assert!(
                responses.keys().any(|status| status.starts_with('2')),
                "{what}"
            );
            for status in ["400", "401", "403", "404", "500", "503", "504"] {
                assert!(responses.contains_key(status), "{what} {status}");
            }
            for variable in path
                .split('{')
                .skip(1)
                .filter_map(|part| part.split_once('}'))
                .map(|(name, _)| name)
            {
                let parameters = operation["parameters"].as_array().unwrap();
                assert!(
                    parameters.iter().any(|p| p["name"] == variable
                        && p["in"] == "path"
                        && p["required"] == true),
                    "{what} {variable}"
                );
            }
        }
    }
    assert_eq!(count, gateway::routes::table().methods.len());
}

#[test]
fn internal_methods_and_fields_of_the_gateway_are_not_described() {
    let text = gateway::openapi::COMMITTED;
    for hidden in [
        "ResolveContext",
        "BatchGetSearchDocuments",
        "updateMask",
        "contextToken",
    ] {
        assert!(!text.contains(hidden), "{hidden}");
    }
}

#[test]
fn rules_and_examples_of_the_contract_are_there() {
    let document: Value = serde_json::from_str(gateway::openapi::COMMITTED).unwrap();
    let register = &document["paths"]["/v1/auth/register"]["post"];
    let email =
        &register["requestBody"]["content"]["application/json"]["schema"]["properties"]["email"];
    assert_eq!(
        (email["format"].as_str(), email["maxLength"].as_u64()),
        (Some("email"), Some(254))
    );
    assert_eq!(email["examples"][0], "ana@example.com");
    assert_eq!(
        register["requestBody"]["content"]["application/json"]["example"]["locale"],
        "pt-BR"
    );
    assert_eq!(register["security"], serde_json::json!([]));
    let create = &document["paths"]["/v1/niches/{niche}/{entity}/records"]["post"];
    assert_eq!(create["x-tool-action"], "records.create");
    assert_eq!(create["x-rate-limit"]["requests"], 100);
    assert!(create["responses"]["201"]["headers"].get("ETag").is_some());
    assert!(
        document["paths"]["/v1/imports/{importId}/progress"]["get"]["responses"]["200"]["content"]
            .get("text/event-stream")
            .is_some()
    );
}
