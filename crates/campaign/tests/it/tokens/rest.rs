//! Forged access tokens at the public port.

use std::collections::{BTreeMap, BTreeSet};

use campaign::Extent;
use futures::StreamExt as _;
use proto::policy::{Access, MethodPolicy};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::forgeries;
use super::scene::{Scene, guarded};
use super::workshop::{Forgery, assert_distinct};

/// SECURITY A-1 asks for as many.
const FORGERIES_MIN: usize = 200;
/// Requests under way at a time.
const ABREAST: usize = 16;

/// One HTTP mapping of a method that asks for a token.
#[derive(Clone)]
struct Route {
    policy: &'static MethodPolicy,
    verb: Method,
    path: String,
    body: &'static str,
}

fn routes() -> Vec<Route> {
    let mut routes = Vec::new();
    for policy in guarded() {
        for http in policy.http {
            let mut path = String::new();
            for (at, part) in http.path.split(['{', '}']).enumerate() {
                path.push_str(if at % 2 == 0 {
                    part
                } else {
                    "01900000-0000-7000-8000-0000000000aa"
                });
            }
            let verb = Method::from_bytes(http.verb.as_bytes()).unwrap();
            routes.push(Route {
                policy,
                verb,
                path,
                body: http.body,
            });
        }
    }
    routes
}

/// An answer without what differs from request to request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Answer {
    status: u16,
    code: String,
    /// The body and the headers that say something of the refusal.
    shape: String,
}

struct Public {
    http: reqwest::Client,
    base_url: String,
}

impl Public {
    fn of(scene: &Scene) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            http,
            base_url: scene.platform.base_url.clone(),
        }
    }

    async fn send(&self, route: &Route, headers: HeaderMap, query: &str) -> Answer {
        let url = format!("{}{}{query}", self.base_url, route.path);
        let mut request = self.http.request(route.verb.clone(), url).headers(headers);
        if route.policy.client_streaming {
            request = request
                .header("content-type", "text/csv")
                .body("name,version\na,1\n");
        } else if route.body == "*" {
            request = request
                .header("content-type", "application/json")
                .body("{}");
        }
        if route.policy.server_streaming {
            request = request.header("accept", "text/event-stream");
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let told = |name: &str| format!("{:?}", answer.headers().get(name));
        let told = [
            "content-type",
            "www-authenticate",
            "cache-control",
            "retry-after",
        ]
        .map(told);
        // Whether the connection goes on depends on the body that was not read, not on the token.
        let names = answer.headers().keys().map(HeaderName::as_str);
        let mut names: Vec<&str> = names.filter(|name| *name != "connection").collect();
        names.sort_unstable();
        let mut shape = format!("{told:?} {names:?}");
        if status < 400 {
            return Answer {
                status,
                code: String::new(),
                shape,
            };
        }
        let mut body: Value = answer.json().await.unwrap();
        let code = body["error"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        for place in ["/instance", "/error/requestId", "/error/traceId"] {
            *body.pointer_mut(place).unwrap() = Value::Null;
        }
        shape.push_str(&body.to_string());
        Answer {
            status,
            code,
            shape,
        }
    }

    async fn send_bearer(&self, route: &Route, token: &str) -> Answer {
        self.send(route, bearer(token), "").await
    }
}

fn bearer(token: &str) -> HeaderMap {
    lines(&[("authorization", format!("Bearer {token}"))])
}

fn lines(lines: &[(&'static str, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

/// whatever is wrong with a token, every route gives the one answer, nothing is fetched and nothing happens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "a table of cases, and what is done with each"
)]
async fn forged_access_tokens_open_no_route() {
    let extent = Extent::of_this_run();
    let scene = Scene::open().await;
    let public = Public::of(&scene);
    let workshop = scene.workshop().await;
    let forgeries = forgeries::all(&workshop);
    assert_distinct(
        forgeries
            .iter()
            .map(|forgery| (forgery.what.as_str(), forgery.token.as_str())),
    );
    assert!(forgeries.len() >= FORGERIES_MIN, "only {}", forgeries.len());
    let routes = routes();
    assert!(routes.iter().any(|route| route.policy.client_streaming));
    assert!(routes.iter().any(|route| route.policy.server_streaming));
    let genuine = workshop.genuine();
    assert_eq!(
        public.send_bearer(&me(&routes), &genuine).await.status,
        200,
        "the workshop makes good tokens"
    );

    let before = scene.digest().await;
    let share = extent.pick(4, routes.len());
    let attempts = forgeries.iter().enumerate().flat_map(|(number, forgery)| {
        let routes = &routes;
        (0..share).map(move |step| (forgery, &routes[(number * 5 + step * 7) % routes.len()]))
    });
    let answers: Vec<(&Forgery, &Route, Answer)> = futures::stream::iter(attempts)
        .map(async |(forgery, route)| {
            (
                forgery,
                route,
                public.send_bearer(route, &forgery.token).await,
            )
        })
        .buffer_unordered(ABREAST)
        .collect()
        .await;
    let mut shapes: BTreeMap<&str, BTreeSet<&Answer>> = BTreeMap::new();
    for (forgery, route, answer) in &answers {
        let place = format!("{}: {} {}", forgery.what, route.verb, route.path);
        assert_eq!(
            (answer.status, answer.code.as_str()),
            (401, forgery.code),
            "{place}: {answer:?}"
        );
        shapes.entry(forgery.code).or_default().insert(answer);
    }
    for (code, shapes) in &shapes {
        assert_eq!(shapes.len(), 1, "{code} has one answer: {shapes:#?}");
    }
    let reached: BTreeSet<&str> = answers
        .iter()
        .map(|(_, route, _)| route.path.as_str())
        .collect();
    assert_eq!(
        reached.len(),
        routes
            .iter()
            .map(|route| &route.path)
            .collect::<BTreeSet<_>>()
            .len()
    );
    assert_eq!(scene.digest().await, before, "nothing has happened");
    extent.tell("forged access tokens", forgeries.len());
    extent.tell("routes", routes.len());
    extent.tell("requests refused", answers.len());

    assert_eq!(
        public.send_bearer(&me(&routes), &genuine).await.status,
        200,
        "still good after all that"
    );
    scene.close().await;
}

fn me(routes: &[Route]) -> Route {
    routes
        .iter()
        .find(|route| route.path == "/v1/me")
        .unwrap()
        .clone()
}

/// A refusal means something only because the genuine token is let in at the same place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "a table of cases, and what is done with each"
)]
async fn a_genuine_token_opens_every_route_and_only_as_a_bearer() {
    let scene = Scene::open().await;
    let public = Public::of(&scene);
    let genuine = scene.workshop().await.genuine();
    let routes = routes();
    // Whoever signs out is out: last of all.
    let (logout, others): (Vec<_>, Vec<_>) = routes
        .iter()
        .partition(|route| route.policy.method == "Logout");
    for route in others {
        let is_staff = route.policy.access == Access::Platform;
        let token = if is_staff {
            &scene.staff_token
        } else {
            &genuine
        };
        let answer = public.send_bearer(route, token).await;
        assert!(
            ![401, 403].contains(&answer.status),
            "{} {}: {answer:?}",
            route.verb,
            route.path
        );
    }
    let me = me(&routes);
    let other_places: Vec<(&str, HeaderMap, String)> = vec![
        (
            "a cookie",
            lines(&[("cookie", format!("access_token={genuine}; token={genuine}"))]),
            String::new(),
        ),
        (
            "a query",
            HeaderMap::new(),
            format!("?access_token={genuine}"),
        ),
        (
            "a query named token",
            HeaderMap::new(),
            format!("?token={genuine}"),
        ),
        (
            "another header",
            lines(&[("x-access-token", genuine.clone())]),
            String::new(),
        ),
        (
            "the context header",
            lines(&[("tenantry-context", genuine.clone())]),
            String::new(),
        ),
        (
            "the proxy's header",
            lines(&[("proxy-authorization", format!("Bearer {genuine}"))]),
            String::new(),
        ),
        (
            "a forwarded header",
            lines(&[("x-forwarded-authorization", format!("Bearer {genuine}"))]),
            String::new(),
        ),
        (
            "names of people",
            lines(&[
                ("x-user-id", scene.user_id.to_string()),
                ("x-tenant-id", scene.tenant_id.to_string()),
            ]),
            String::new(),
        ),
    ];
    for (what, headers, query) in other_places {
        let answer = public.send(&me, headers, &query).await;
        assert_eq!(
            (answer.status, answer.code.as_str()),
            (401, "UNAUTHORIZED"),
            "{what}"
        );
    }
    for scheme in [
        "Basic", "Token", "JWT", "DPoP", "Digest", "Bearerx", "Bea rer",
    ] {
        let headers = lines(&[("authorization", format!("{scheme} {genuine}"))]);
        let answer = public.send(&me, headers, "").await;
        assert_eq!(
            (answer.status, answer.code.as_str()),
            (401, "INVALID_TOKEN"),
            "{scheme}"
        );
    }
    for (what, value) in [
        ("no scheme", genuine.clone()),
        ("nothing", "Bearer ".to_owned()),
        ("the scheme", "Bearer".to_owned()),
    ] {
        let answer = public
            .send(&me, lines(&[("authorization", value)]), "")
            .await;
        assert_eq!(
            (answer.status, answer.code.as_str()),
            (401, "INVALID_TOKEN"),
            "{what}"
        );
    }
    for scheme in ["bearer", "BEARER", "bEaReR"] {
        let headers = lines(&[("authorization", format!("{scheme} {genuine}"))]);
        assert_eq!(
            public.send(&me, headers, "").await.status,
            200,
            "a scheme has no case: {scheme}"
        );
    }
    contradictions(&public, &me, &genuine).await;
    for route in logout {
        assert_eq!(public.send_bearer(route, &genuine).await.status, 204);
        testkit::eventually("the session has ended", async || {
            (public.send_bearer(&me, &genuine).await.code == "INVALID_TOKEN").then_some(())
        })
        .await;
    }
    scene.close().await;
}

/// Two credentials are none: whoever is in front of us might have read the other one.
async fn contradictions(public: &Public, me: &Route, genuine: &str) {
    let authorization = |token: &str| ("authorization", format!("Bearer {token}"));
    for (what, headers) in [
        (
            "the same twice",
            lines(&[authorization(genuine), authorization(genuine)]),
        ),
        (
            "a false one behind it",
            lines(&[authorization(genuine), authorization("e30.e30.AA")]),
        ),
        (
            "a false one before it",
            lines(&[authorization("e30.e30.AA"), authorization(genuine)]),
        ),
        (
            "a password beside it",
            lines(&[
                ("authorization", "Basic YTpi".to_owned()),
                authorization(genuine),
            ]),
        ),
        (
            "an API key beside it",
            lines(&[authorization(genuine), ("x-api-key", "k".to_owned())]),
        ),
    ] {
        let answer = public.send(me, headers, "").await;
        assert_eq!(
            (answer.status, answer.code.as_str()),
            (400, "MALFORMED_REQUEST"),
            "{what}"
        );
    }
}
