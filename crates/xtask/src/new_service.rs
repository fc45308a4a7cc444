//! `cargo xtask new-service <noun>`: a whole small service to change, rather than an empty folder to fill.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use regex::Regex;

use crate::tree;

/// What is laid out: the path below the root, and the template.
const FILES: [(&str, &str); 11] = [
    (
        "proto/{{noun}}/v1/{{noun}}.proto",
        include_str!("../template/service.proto.tmpl"),
    ),
    (
        "services/{{noun}}/Cargo.toml",
        include_str!("../template/Cargo.toml.tmpl"),
    ),
    (
        "services/{{noun}}/README.md",
        include_str!("../template/README.md.tmpl"),
    ),
    (
        "services/{{noun}}/migrations/000000000001_create_{{noun}}s.sql",
        include_str!("../template/migration.sql.tmpl"),
    ),
    (
        "services/{{noun}}/src/main.rs",
        include_str!("../template/main.rs.tmpl"),
    ),
    (
        "services/{{noun}}/src/lib.rs",
        include_str!("../template/lib.rs.tmpl"),
    ),
    (
        "services/{{noun}}/src/config.rs",
        include_str!("../template/config.rs.tmpl"),
    ),
    (
        "services/{{noun}}/src/grpc.rs",
        include_str!("../template/grpc.rs.tmpl"),
    ),
    (
        "services/{{noun}}/src/{{noun}}s.rs",
        include_str!("../template/noun.rs.tmpl"),
    ),
    (
        "services/{{noun}}/src/{{noun}}s/store.rs",
        include_str!("../template/store.rs.tmpl"),
    ),
    (
        "services/{{noun}}/tests/it/main.rs",
        include_str!("../template/tests.rs.tmpl"),
    ),
];

const TOOL: &str = r#"
  - key: {{noun}}s
    name: {pt-BR: "{{noun}}s", en: "{{noun}}s"}
    description: {pt-BR: "Os {{noun}}s da organização.", en: "The tenant's {{noun}}s."}
    actions:
      - key: {{noun}}s.create
        name: {pt-BR: "Criar {{noun}}s", en: "Create {{noun}}s"}
        description: {pt-BR: "Cria {{noun}}s.", en: "Creates {{noun}}s."}
      - key: {{noun}}s.read
        name: {pt-BR: "Ver {{noun}}s", en: "Read {{noun}}s"}
        description: {pt-BR: "Consulta {{noun}}s.", en: "Reads {{noun}}s."}

packages:"#;

const TEXTS: [(&str, &str); 2] = [
    (
        "services/gateway/locales/en.yaml",
        "{{noun}}.not_found: \"There is no such {{noun}}\"\n{{noun}}.name_taken: \"Another {{noun}} has this name\"\n",
    ),
    (
        "services/gateway/locales/pt-BR.yaml",
        "{{noun}}.not_found: \"Não existe esse {{noun}}\"\n{{noun}}.name_taken: \"Outro {{noun}} já tem esse nome\"\n",
    ),
];

/// Lays out the service `noun` and enters it where services are listed.
pub fn run(root: &Path, noun: &str) -> Result<()> {
    let written = lay_out(root, noun)?;
    // Where lines break depends on the length of the noun.
    let formatted = Command::new("cargo")
        .args(["fmt", "--package", noun])
        .current_dir(root)
        .status();
    if !formatted.is_ok_and(|status| status.success()) {
        tree::say("cargo fmt failed; format the new package by hand");
    }
    for path in &written {
        tree::say(&format!("wrote {path}"));
    }
    tree::say(&format!(
        "now:\n  cargo xtask proto\n  cargo xtask sqlx {noun}\n  cargo test -p {noun}\n\
         then change what is there into what you need, give `{noun}s.*` to packages in services/tenant/catalog.yaml and to roles in \
         services/auth/roles.yaml,\nlet the gateway know where `{noun}` answers (services/gateway/src/config.rs), and start it in \
         crates/stack/src/lib.rs"
    ));
    Ok(())
}

fn lay_out(root: &Path, noun: &str) -> Result<Vec<String>> {
    if !Regex::new("^[a-z]{3,30}$")?.is_match(noun) || noun.ends_with('s') {
        bail!(
            "`{noun}` must be one lower-case noun in the singular: it becomes folder, package, schema and binary"
        );
    }
    if root.join("services").join(noun).exists() || root.join("proto").join(noun).exists() {
        bail!("`{noun}` exists already");
    }
    let port = next_port(root)?;
    let fill = |text: &str| fill(text, noun, port);
    let mut written = Vec::new();
    for (path, text) in FILES {
        let path = fill(path);
        let target = root.join(&path);
        fs::create_dir_all(target.parent().expect("every template lies in a folder"))?;
        fs::write(&target, fill(text)).with_context(|| path.clone())?;
        written.push(path);
    }
    for (path, text) in TEXTS {
        edit(root, path, |old| {
            Some(format!("{}\n{}", old.trim_end_matches('\n'), fill(text)))
        })?;
        written.push(path.to_owned());
    }
    edit(root, crate::contract::CATALOGUE, |old| {
        replace_once(old, "\npackages:", &fill(TOOL))
    })?;
    edit(root, "Cargo.toml", |old| {
        let listed = replace_once(old, "\n]", &format!("\n    \"services/{noun}\",\n]"))?;
        let last = "search = { path = \"services/search\" }\n";
        replace_once(
            &listed,
            last,
            &format!("{last}{noun} = {{ path = \"services/{noun}\" }}\n"),
        )
    })?;
    written.extend([
        crate::contract::CATALOGUE.to_owned(),
        "Cargo.toml".to_owned(),
    ]);
    Ok(written)
}

fn fill(text: &str, noun: &str, port: u16) -> String {
    let (first, rest) = noun.split_at(1);
    text.replace("{{noun}}", noun)
        .replace("{{Noun}}", &format!("{}{rest}", first.to_ascii_uppercase()))
        .replace("{{NOUN}}", &noun.to_ascii_uppercase())
        .replace("{{port}}", &port.to_string())
}

/// One more than the highest port that a service answers gRPC on by default.
fn next_port(root: &Path) -> Result<u16> {
    let pattern = Regex::new(r#"_GRPC_LISTEN",\s*"127\.0\.0\.1:(\d+)""#)?;
    let mut highest = 9100;
    for path in tree::files(&root.join("services"), &["config.rs"])? {
        for capture in pattern.captures_iter(&fs::read_to_string(path)?) {
            highest = highest.max(capture[1].parse()?);
        }
    }
    Ok(highest + 1)
}

fn edit(root: &Path, path: &str, change: impl FnOnce(&str) -> Option<String>) -> Result<()> {
    let old = fs::read_to_string(root.join(path)).with_context(|| path.to_owned())?;
    let new = change(&old).with_context(|| {
        format!("{path} is not in the form that this command knows; enter the service by hand")
    })?;
    Ok(fs::write(root.join(path), new)?)
}

fn replace_once(text: &str, old: &str, new: &str) -> Option<String> {
    text.contains(old).then(|| text.replacen(old, new, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            (
                "services/auth/src/config.rs",
                "reader.text(\n \"AUTH_GRPC_LISTEN\",\n \"127.0.0.1:9107\",",
            ),
            ("services/gateway/locales/en.yaml", "a: A\n"),
            ("services/gateway/locales/pt-BR.yaml", "a: A\n"),
            (
                crate::contract::CATALOGUE,
                "tools: []\n\npackages:\n  - key: starter\n",
            ),
            (
                "Cargo.toml",
                "default-members = [\n    \"a\",\n]\n[workspace.dependencies]\nsearch = { path = \"services/search\" }\n",
            ),
        ];
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn a_service_is_laid_out_and_listed() {
        let dir = tree();
        lay_out(dir.path(), "note").unwrap();
        let read = |path: &str| fs::read_to_string(dir.path().join(path)).unwrap();
        assert!(read("services/note/src/config.rs").contains("\"127.0.0.1:9108\""));
        assert!(
            read("services/note/src/notes/store.rs").contains("use super::{Note, name_taken};")
        );
        assert!(read("proto/note/v1/note.proto").contains("get: \"/v1/notes/{note_id}\""));
        assert!(read("Cargo.toml").contains("    \"a\",\n    \"services/note\",\n]"));
        assert!(read("Cargo.toml").contains("note = { path = \"services/note\" }"));
        assert!(read("services/gateway/locales/en.yaml").starts_with("a: A\nnote.not_found: "));
        assert!(read(crate::contract::CATALOGUE).contains("- key: notes.create\n"));
        for path in crate::tree::files(dir.path(), &[]).unwrap() {
            assert!(
                !fs::read_to_string(&path).unwrap().contains("{{"),
                "{}",
                path.display()
            );
        }
    }

    #[test]
    fn the_contract_of_a_new_service_keeps_the_rules() {
        let text = fill(include_str!("../template/service.proto.tmpl"), "note", 9108);
        let problems = crate::contract::problems_of("note/v1/note.proto", &text);
        // What the catalogue lacks is added by the command itself.
        let problems: Vec<_> = problems
            .iter()
            .filter(|problem| !problem.contains("catalogue"))
            .collect();
        assert!(problems.is_empty(), "{problems:#?}");
    }

    #[test]
    fn a_bad_or_taken_name_changes_nothing() {
        let dir = tree();
        for name in ["auth", "Note", "notes", "my-note", "no"] {
            assert!(lay_out(dir.path(), name).is_err(), "{name}");
        }
        assert!(
            !fs::read_to_string(dir.path().join("Cargo.toml"))
                .unwrap()
                .contains("note")
        );
    }
}
