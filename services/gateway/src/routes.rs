//! The route table, compiled once from the descriptors.
//!
//! Every method with an HTTP rule is in it; internal methods have none. Everything that a request needs to
//! know about its method stands in [`Method`]; nothing is looked up by name while serving.

mod compile;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use anyhow::{Context as _, bail, ensure};
use http::uri::PathAndQuery;
use prost_reflect::MethodDescriptor;
use proto::policy::{Access, Http, MethodPolicy};

use proto::shape::{ShapeId, Shapes};

/// The HTTP methods that the contract uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    Get,
    Put,
    Post,
    Delete,
    Patch,
}

impl Verb {
    /// As it stands in a request line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
            Self::Patch => "PATCH",
        }
    }

    fn named(name: &str) -> anyhow::Result<Self> {
        Self::of(name)
            .filter(|_| name != "HEAD")
            .with_context(|| format!("the HTTP method {name} is not supported"))
    }

    /// Reads a request line's method; `HEAD` is answered as `GET`.
    pub fn of(method: &str) -> Option<Self> {
        match method {
            "GET" | "HEAD" => Some(Self::Get),
            "PUT" => Some(Self::Put),
            "POST" => Some(Self::Post),
            "DELETE" => Some(Self::Delete),
            "PATCH" => Some(Self::Patch),
            _ => None,
        }
    }
}

/// Where a body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyRule {
    /// The method takes none.
    None,
    /// JSON: every field that the path does not bind.
    All,
    /// JSON: the field with this index.
    Field(usize),
    /// Any media type: the `google.api.HttpBody` field with this index.
    Raw(usize),
}

/// How a success is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// One message as JSON.
    Json,
    /// One `google.api.HttpBody`.
    Raw,
    /// A stream of messages as Server-Sent Events.
    Events,
    /// A stream of `google.api.HttpBody` as one body.
    RawStream,
}

/// One HTTP binding of one RPC method.
pub struct Method {
    /// `/auth.v1.SessionService/Login`.
    pub path: PathAndQuery,
    pub verb: Verb,
    /// `/v1/tenants/{tenant_id}`.
    pub template: &'static str,
    pub input: ShapeId,
    pub output: ShapeId,
    /// The request fields that the path binds, in the order of the template.
    pub captures: Vec<usize>,
    /// Names of the contract that neither body nor query may set: the path binds them, or the gateway fills them.
    pub reserved: Vec<String>,
    pub body: BodyRule,
    pub answer: Answer,
    /// Whether the request is a stream: the body is handed on while it arrives.
    pub streams_in: bool,
    /// What the method declares: access, limits, status of success.
    pub policy: &'static MethodPolicy,
    /// The request field that `If-Match` fills.
    pub version: Option<usize>,
    /// The request field that the keys of a `PATCH` fill.
    pub mask: Option<usize>,
    /// `data` of the answer: its number and shape, when it is a message or a list of them.
    pub data: Option<(u32, ShapeId)>,
    /// The numbers of `data` and of its `version`, which becomes the `ETag`.
    pub etag: Option<(u32, u32)>,
    /// For the documentation.
    pub descriptor: MethodDescriptor,
}

/// Every public method and the tree of their paths.
pub struct Table {
    pub shapes: Shapes,
    pub methods: Vec<Method>,
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    literals: Vec<(String, usize)>,
    variable: Option<usize>,
    methods: BTreeMap<Verb, usize>,
    /// The value of `Allow`, ready to send.
    allow: String,
}

/// What a path leads to.
pub enum Found<'t, 'p> {
    /// A method and its path variables, still encoded.
    Method(&'t Method, Vec<&'p str>),
    /// The path exists and takes only these methods.
    Other { allow: &'t str },
    /// The path does not exist.
    Nothing,
}

/// The table of the contract. Built at the first call.
pub fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        Table::build().expect("the committed contract makes a valid route table; a test builds it")
    })
}

impl Table {
    /// Compiles the table, or says which method cannot be served.
    pub fn build() -> anyhow::Result<Self> {
        let mut table = Self {
            shapes: Shapes::default(),
            methods: Vec::new(),
            nodes: vec![Node::default()],
        };
        for policy in proto::policy::ALL {
            for rule in policy.http {
                table
                    .add(policy, rule)
                    .with_context(|| format!("method {}", policy.path))?;
            }
        }
        for node in &mut table.nodes {
            let mut allow: Vec<&str> = node.methods.keys().map(|verb| verb.as_str()).collect();
            if node.methods.contains_key(&Verb::Get) {
                allow.insert(1, "HEAD");
            }
            if !allow.is_empty() {
                allow.push("OPTIONS");
            }
            node.allow = allow.join(", ");
        }
        Ok(table)
    }

    fn add(&mut self, policy: &'static MethodPolicy, rule: &'static Http) -> anyhow::Result<()> {
        ensure!(
            policy.access != Access::Internal,
            "an internal method must not have an HTTP rule"
        );
        let service = proto::pool()
            .get_service_by_name(policy.service)
            .context("its service is not in the contract")?;
        let method = service
            .methods()
            .find(|method| method.name() == policy.method)
            .context("it is not in the contract")?;
        let compiled = compile::method(&mut self.shapes, &method, policy, rule)?;
        self.insert(compiled)
    }

    fn insert(&mut self, method: Method) -> anyhow::Result<()> {
        let mut at = 0;
        for segment in method.template.split('/').skip(1) {
            at = if variable(segment).is_some() {
                self.child_variable(at)
            } else {
                self.child_literal(at, segment)?
            };
        }
        let index = self.methods.len();
        if let Some(other) = self.nodes[at].methods.insert(method.verb, index) {
            bail!(
                "{} {} is taken by {}",
                method.verb.as_str(),
                method.template,
                self.methods[other].path
            );
        }
        self.methods.push(method);
        Ok(())
    }

    fn child_variable(&mut self, at: usize) -> usize {
        if let Some(child) = self.nodes[at].variable {
            return child;
        }
        self.nodes.push(Node::default());
        let child = self.nodes.len() - 1;
        self.nodes[at].variable = Some(child);
        child
    }

    fn child_literal(&mut self, at: usize, segment: &str) -> anyhow::Result<usize> {
        ensure!(
            !segment.is_empty() && !segment.contains(['{', '}', '*']),
            "the path segment `{segment}` is not supported"
        );
        if let Some((_, child)) = self.nodes[at]
            .literals
            .iter()
            .find(|(literal, _)| literal == segment)
        {
            return Ok(*child);
        }
        self.nodes.push(Node::default());
        let child = self.nodes.len() - 1;
        self.nodes[at].literals.push((segment.to_owned(), child));
        Ok(child)
    }

    /// Finds what a path leads to. A literal wins over a variable at the same place.
    pub fn find<'p>(&self, verb: Option<Verb>, path: &'p str) -> Found<'_, 'p> {
        let Some(rest) = path.strip_prefix('/') else {
            return Found::Nothing;
        };
        let mut captures = Vec::new();
        let Some(node) = self.walk(0, rest, &mut captures) else {
            return Found::Nothing;
        };
        let node = &self.nodes[node];
        match verb.and_then(|verb| node.methods.get(&verb)) {
            Some(index) => Found::Method(&self.methods[*index], captures),
            None => Found::Other { allow: &node.allow },
        }
    }

    fn walk<'p>(&self, at: usize, rest: &'p str, captures: &mut Vec<&'p str>) -> Option<usize> {
        let node = &self.nodes[at];
        let (segment, tail) = rest
            .split_once('/')
            .map_or((rest, None), |(segment, tail)| (segment, Some(tail)));
        let go = |child: usize, captures: &mut Vec<&'p str>| match tail {
            Some(tail) => self.walk(child, tail, captures),
            None => (!self.nodes[child].methods.is_empty()).then_some(child),
        };
        if let Some((_, child)) = node.literals.iter().find(|(literal, _)| literal == segment)
            && let Some(found) = go(*child, captures)
        {
            return Some(found);
        }
        let child = node.variable.filter(|_| !segment.is_empty())?;
        captures.push(segment);
        let found = go(child, captures);
        if found.is_none() {
            captures.pop();
        }
        found
    }
}

fn variable(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(verb: Verb, path: &str, template: &str, captures: &[&str]) {
        match table().find(Some(verb), path) {
            Found::Method(method, found) => {
                assert_eq!((method.template, &found[..]), (template, captures))
            }
            _ => panic!("{path} leads nowhere"),
        }
    }

    #[test]
    fn paths_lead_to_their_methods() {
        check(Verb::Get, "/v1/me", "/v1/me", &[]);
        check(
            Verb::Get,
            "/v1/tenants/abc",
            "/v1/tenants/{tenant_id}",
            &["abc"],
        );
        check(
            Verb::Post,
            "/v1/niches/people/person/records",
            "/v1/niches/{niche}/{entity}/records",
            &["people", "person"],
        );
        check(
            Verb::Get,
            "/v1/niches/people/config",
            "/v1/niches/{niche}/config",
            &["people"],
        );
        check(
            Verb::Get,
            "/.well-known/jwks.json",
            "/.well-known/jwks.json",
            &[],
        );
    }

    #[test]
    fn near_misses_lead_nowhere() {
        for path in [
            "",
            "/",
            "/v1",
            "/v1/me/",
            "/v1//me",
            "/v1/tenants/",
            "/V1/me",
            "/v1/niches/a/b/records/c/d",
        ] {
            assert!(
                matches!(table().find(Some(Verb::Get), path), Found::Nothing),
                "{path}"
            );
        }
    }

    #[test]
    fn a_known_path_tells_its_methods() {
        let Found::Other { allow } = table().find(Some(Verb::Put), "/v1/niches/a/b/records/c")
        else {
            panic!("must exist")
        };
        assert_eq!(allow, "GET, HEAD, DELETE, PATCH, OPTIONS");
        let Found::Other { allow } = table().find(None, "/v1/auth/login") else {
            panic!("must exist")
        };
        assert_eq!(allow, "POST, OPTIONS");
    }

    #[test]
    fn internal_methods_have_no_route() {
        assert!(
            table()
                .methods
                .iter()
                .all(|method| method.policy.access != Access::Internal)
        );
    }
}
