//! Small contracts for the tests of the checks.

use std::path::Path;

use protox::Error;
use protox::file::{File, FileResolver, IncludeFileResolver};

use super::Problem;
use crate::contract::compile;
use crate::contract::surface::Surface;
use crate::tree;

const NAME: &str = "sample/v1/sample.proto";

/// The options come from the real contract, the sample from memory.
struct Sample {
    name: String,
    text: String,
    rest: IncludeFileResolver,
}

impl FileResolver for Sample {
    fn resolve_path(&self, _path: &Path) -> Option<String> {
        None
    }

    fn open_file(&self, name: &str) -> Result<File, Error> {
        if name == self.name {
            File::from_source(name, &self.text)
        } else {
            self.rest.open_file(name)
        }
    }
}

/// Compiles `body` as the package `sample.v1`.
pub fn surface(body: &str) -> Surface {
    surface_at(NAME, body)
}

/// Compiles `body` as a file of this name; its package is `sample.v1`.
pub fn surface_at(name: &str, body: &str) -> Surface {
    let text = format!(
        "syntax = \"proto3\";\npackage sample.v1;\nimport \"buf/validate/validate.proto\";\nimport \"google/api/annotations.proto\";\n\
         import \"google/api/httpbody.proto\";\nimport \"google/protobuf/timestamp.proto\";\nimport \"tenantry/api/v1/event.proto\";\n\
         import \"tenantry/api/v1/pii.proto\";\nimport \"tenantry/api/v1/policy.proto\";\n{body}"
    );
    surface_of(name, &text)
}

/// Compiles a whole file of this name.
pub fn surface_of(name: &str, text: &str) -> Surface {
    let rest = IncludeFileResolver::new(tree::root().join("proto"));
    let sample = Sample {
        name: name.to_owned(),
        text: text.to_owned(),
        rest,
    };
    let compiled = compile::with_resolver(sample, vec![name.to_owned()]).unwrap();
    Surface::read(&compiled).unwrap()
}

/// A service with one GET method and this policy.
pub fn method(policy: &str) -> String {
    service(
        &format!(
            "option (google.api.http) = {{get: \"/v1/things\"}}; option (tenantry.api.v1.policy) = {{{policy}}};"
        ),
        "",
    )
}

/// A service with one method: its options, and the fields of its request.
pub fn service(options: &str, request: &str) -> String {
    format!(
        "// Things.\nservice ThingService {{\n  // Gets it.\n  rpc GetThing(GetThingRequest) returns (GetThingResponse) {{ {options} }}\n}}\n\
         message GetThingRequest {{ {request} }}\nmessage GetThingResponse {{ string data = 1; }}\n"
    )
}

/// Asserts that `check` finds exactly as many problems as expected, each containing the expected text.
#[track_caller]
pub fn check_with(body: &str, check: impl Fn(&Surface) -> Vec<Problem>, expected: &[&str]) {
    assert_problems(&check(&surface(body)), expected);
}

/// Asserts the number of problems and a part of each one's text.
#[track_caller]
pub fn assert_problems(found: &[Problem], expected: &[&str]) {
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    let fits = found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(line, part)| line.contains(part));
    assert!(fits, "found {found:#?}\nexpected {expected:#?}");
}
