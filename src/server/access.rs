//! Who may fetch: networks, a secret header that a CDN sends, tokens in URLs; which pages may read; who may change something.
//!
//! Every condition that is set has to hold. What is refused is a 403 that nobody keeps, made before anything is looked up.

pub mod secret;
pub mod token;

use std::net::{IpAddr, SocketAddr};

use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, AUTHORIZATION, HeaderName, ORIGIN, VARY,
};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};

use crate::origin::address::decode;
use crate::origin::object::{Body, Problem};
use crate::server::access::secret::Secret;
use crate::server::access::token::{Key, verify};
use crate::server::network::Network;
use crate::server::proxied::{ForwardedBy, client};
use crate::telemetry::Denial;
use crate::time::Utc;

/// How a token begins as a path's first segment; some clients encode the tilde (RFC 3986 §2.3).
const SEGMENTS: [&str; 3] = ["/~t=", "/%7Et=", "/%7et="];
/// And as a parameter of the query.
const PARAMETER: &str = "t=";

/// Who may fetch, and who is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Networks whose clients are served; none: all.
    pub allow: Vec<Network>,
    /// The header that has to hold one of these secrets.
    pub header: Option<(HeaderName, Vec<Secret>)>,
    /// Keys of tokens, one of which every request needs; none: no request does.
    pub tokens: Vec<Key>,
    /// Origins of pages that may read answers (`https://player.example`); none: all.
    pub cors_origins: Vec<HeaderValue>,
    /// Those of what lies under a prefix of names, which count there instead; the longest prefix first.
    pub cors_below: Vec<(String, Vec<HeaderValue>)>,
    /// What a call that changes something has to bring; `None`: nobody may.
    pub admin: Option<Secret>,
    /// Peers that are believed when they say for whom they ask.
    pub trusted: Vec<Network>,
    /// Where they say it.
    pub forwarded_by: ForwardedBy,
    /// Whether connections begin with the PROXY protocol. Then only trusted peers are served.
    pub proxy_protocol: bool,
}

impl Options {
    /// Who sent `request`, which `peer` brought.
    pub fn client<B>(&self, peer: SocketAddr, request: &Request<B>) -> SocketAddr {
        if self.trusted.is_empty() {
            return peer;
        }
        client(peer, request.headers(), self.forwarded_by, &self.trusted)
    }

    /// Whether `request` may be answered to `client`, as of `now`. A token is taken out of its URL, right or wrong: what comes later neither
    /// needs it nor may show it.
    pub fn admit<B>(&self, request: &mut Request<B>, client: IpAddr, now: Utc) -> Result<(), Denial> {
        let token = if self.tokens.is_empty() { None } else { take_token(request.uri_mut()) };
        // Probes come from anywhere. A preflight has no header of a CDN, and is answered alike for everything.
        let is_open = request.method() == Method::OPTIONS || matches!(request.uri().path(), "/healthz" | "/readyz");
        if is_open {
            return Ok(());
        }
        if !self.allow.is_empty() && !self.allow.iter().any(|network| network.contains(client)) {
            return Err(Denial::Network);
        }
        if let Some((name, secrets)) = &self.header {
            let said = request.headers().get(name).map_or(&b""[..], HeaderValue::as_bytes);
            if !secrets.iter().any(|secret| secret.is(said)) {
                return Err(Denial::Header);
            }
        }
        // The clock that every live MPD names (ISO/IEC 23009-1 §5.8.4.11) lies above what its token is for, and is no secret.
        if self.tokens.is_empty() || request.uri().path() == "/time" {
            return Ok(());
        }
        let token = token.ok_or(Denial::TokenMissing)?;
        let path = decode(request.uri().path()).ok_or(Denial::TokenWrong)?;
        verify(&self.tokens, &token, &path, now).map_err(|refusal| match refusal {
            token::Refusal::Wrong => Denial::TokenWrong,
            token::Refusal::Expired => Denial::TokenExpired,
        })
    }

    /// Whether a call with these headers may change something (RFC 6750 §2.1).
    pub fn may_change(&self, headers: &HeaderMap) -> bool {
        let said = headers.get(AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
        let token = match said.split_first_chunk::<7>() {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"Bearer ") => token,
            _ => return false,
        };
        self.admin.as_ref().is_some_and(|secret| secret.is(token))
    }

    /// Lets the pages read `response` that may, if not all may (Fetch standard, "CORS protocol").
    pub fn share<B>(&self, request: &Request<B>, response: &mut Response<Body>) {
        let origins = self.origins_of(request.uri().path());
        if origins.is_empty() {
            return;
        }
        let headers = response.headers_mut();
        headers.append(VARY, HeaderValue::from_static("Origin"));
        match request.headers().get(ORIGIN).filter(|origin| origins.contains(origin)) {
            Some(origin) => {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            }
            None => {
                headers.remove(ACCESS_CONTROL_ALLOW_ORIGIN);
                headers.remove(ACCESS_CONTROL_EXPOSE_HEADERS);
            }
        }
    }
}

impl Options {
    /// The origins of pages that may read what lies at `path`; none: all.
    fn origins_of(&self, path: &str) -> &[HeaderValue] {
        if self.cors_below.is_empty() {
            return &self.cors_origins;
        }
        // In the spelling by which it is looked up; what can't be spelled so is nothing.
        let path = decode(path).unwrap_or_default();
        let is_below = |prefix: &str| {
            let rest = path.strip_prefix('/').and_then(|path| path.strip_prefix(prefix));
            prefix.is_empty() || rest.is_some_and(|rest| rest.starts_with('/'))
        };
        let below = self.cors_below.iter().find(|(prefix, _)| is_below(prefix));
        below.map_or(&self.cors_origins, |(_, origins)| origins)
    }
}

/// The answer to who may not fetch.
pub fn denied(denial: Denial, method: &Method) -> Response<Body> {
    let (code, message) = match denial {
        Denial::Network | Denial::Header => ("forbidden", "this server is not for you"),
        Denial::TokenMissing => ("token_missing", "the URL has no token"),
        Denial::TokenWrong => ("token_wrong", "the token of the URL is not for it"),
        Denial::TokenExpired => ("token_expired", "the token of the URL is over"),
    };
    Problem::new(StatusCode::FORBIDDEN, code, message).response(method)
}

/// Takes a token out of `uri`: the first segment of its path, or else the parameter `t` of its query.
fn take_token(uri: &mut Uri) -> Option<String> {
    let path = uri.path();
    let query = uri.query().unwrap_or("");
    let of_path = SEGMENTS.iter().find_map(|begin| path.strip_prefix(begin)).map(|rest| {
        let (token, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        (token.to_owned(), rest)
    });
    let of_query = query.split('&').find_map(|pair| pair.strip_prefix(PARAMETER)).map(str::to_owned);
    if of_path.is_none() && of_query.is_none() {
        return None;
    }
    let (token, path) = match of_path {
        Some((token, rest)) => (Some(token), if rest.is_empty() { "/" } else { rest }),
        None => (None, path),
    };
    let rest: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with(PARAMETER) && !pair.is_empty()).collect();
    let bare = if rest.is_empty() { path.to_owned() } else { format!("{path}?{}", rest.join("&")) };
    let mut parts = std::mem::take(uri).into_parts();
    // Parts of what was a URL are one. Else nothing is left of it, which names nothing.
    parts.path_and_query = Some(bare.parse().unwrap_or_else(|_| PathAndQuery::from_static("/")));
    *uri = Uri::from_parts(parts).unwrap_or_default();
    token.or(of_query)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Utc = Utc(1_900_000_000_000);

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes()).unwrap()
    }

    fn key() -> Key {
        Key::new("a".into(), secret("correct horse battery")).unwrap()
    }

    fn admitted(options: &Options, request: &mut Request<()>) -> Result<(), Denial> {
        options.admit(request, "192.0.2.7".parse().unwrap(), NOW)
    }

    fn get(uri: &str) -> Request<()> {
        Request::get(uri).body(()).unwrap()
    }

    #[test]
    fn a_token_is_taken_from_path_or_query_and_nothing_of_it_stays() {
        let token = key().sign("/films/tour/master.m3u8", 2, 1_900_000_010).unwrap();
        let options = Options { tokens: vec![key()], ..Options::default() };
        for (uri, left, expected) in [
            (format!("/~t={token}/films/tour/master.m3u8"), "/films/tour/master.m3u8", Ok(())),
            (format!("/%7Et={token}/films/tour/master.m3u8?x=1"), "/films/tour/master.m3u8?x=1", Ok(())),
            (format!("/films/tour/master.m3u8?t={token}"), "/films/tour/master.m3u8", Ok(())),
            (format!("/films/tour/master.m3u8?a&t={token}&b=t=1"), "/films/tour/master.m3u8?a&b=t=1", Ok(())),
            (format!("http://host:80/~t={token}/films/tour/x"), "http://host:80/films/tour/x", Ok(())),
            (format!("/~t={token}/films/t%6Fur/x"), "/films/t%6Fur/x", Ok(())),
            (format!("/~t={token}/films/tour%2F/x"), "/films/tour%2F/x", Err(Denial::TokenWrong)),
            (format!("/~t={token}/films/other/x"), "/films/other/x", Err(Denial::TokenWrong)),
            (format!("/~t={token}"), "/", Err(Denial::TokenWrong)),
            (format!("/~t={token}//films/tour/x"), "//films/tour/x", Err(Denial::TokenWrong)),
            (format!("/films/~t={token}/tour/x"), &format!("/films/~t={token}/tour/x"), Err(Denial::TokenMissing)),
            ("/films/tour/x?tt=1".into(), "/films/tour/x?tt=1", Err(Denial::TokenMissing)),
            ("/films/tour/x?t=".into(), "/films/tour/x", Err(Denial::TokenWrong)),
        ] {
            let mut request = get(&uri);
            assert_eq!(admitted(&options, &mut request), expected, "{uri}");
            assert_eq!(request.uri().to_string(), left, "{uri}");
        }
        // The path's token counts, and the query's goes all the same.
        let mut request = get(&format!("/~t=1.1.a.x/films/tour/x?t={token}"));
        assert_eq!(admitted(&options, &mut request), Err(Denial::TokenWrong));
        assert_eq!(request.uri(), "/films/tour/x");
        let late = options.admit(&mut get(&format!("/films/tour/x?t={token}")), "::1".parse().unwrap(), Utc(u64::MAX));
        assert_eq!(late, Err(Denial::TokenExpired));
    }

    #[test]
    fn probes_and_preflights_need_nothing() {
        let options = Options { tokens: vec![key()], allow: vec!["10.0.0.0/8".parse().unwrap()], ..Options::default() };
        for path in ["/healthz", "/readyz"] {
            assert_eq!(admitted(&options, &mut get(path)), Ok(()));
        }
        let mut preflight = Request::options("/~t=1.1.a.x/tour/master.m3u8").body(()).unwrap();
        assert_eq!(admitted(&options, &mut preflight), Ok(()));
        assert_eq!(preflight.uri(), "/tour/master.m3u8");
    }

    #[test]
    fn the_clock_needs_no_token_that_opens_it() {
        let token = key().sign("/tv/manifest.mpd", 1, 1_900_000_010).unwrap();
        let mut options = Options { tokens: vec![key()], ..Options::default() };
        // As `../time` of the MPD comes to.
        let mut inherited = get(&format!("/~t={token}/time"));
        assert_eq!(admitted(&options, &mut inherited), Ok(()));
        assert_eq!(inherited.uri(), "/time");
        assert_eq!(admitted(&options, &mut get("/time")), Ok(()));
        options.allow = vec!["10.0.0.0/8".parse().unwrap()];
        assert_eq!(admitted(&options, &mut get("/time")), Err(Denial::Network));
    }

    #[test]
    fn every_condition_that_is_set_has_to_hold() {
        let name = HeaderName::from_static("x-origin-auth");
        let secrets = vec![secret("the one that is used"), secret("the one that comes")];
        let mut options = Options { header: Some((name.clone(), secrets)), ..Options::default() };
        let with = |value: &'static str| {
            let mut request = get("/a/master.m3u8");
            request.headers_mut().insert(name.clone(), HeaderValue::from_static(value));
            request
        };
        assert_eq!(admitted(&options, &mut get("/a/master.m3u8")), Err(Denial::Header));
        assert_eq!(admitted(&options, &mut with("the one that is used!")), Err(Denial::Header));
        assert_eq!(admitted(&options, &mut with("the one that is used")), Ok(()));
        assert_eq!(admitted(&options, &mut with("the one that comes")), Ok(()));
        options.allow = vec!["198.51.100.0/24".parse().unwrap()];
        assert_eq!(admitted(&options, &mut with("the one that is used")), Err(Denial::Network));
        options.allow.push("192.0.2.0/24".parse().unwrap());
        assert_eq!(admitted(&options, &mut with("the one that is used")), Ok(()));
        options.tokens = vec![key()];
        assert_eq!(admitted(&options, &mut with("the one that is used")), Err(Denial::TokenMissing));
    }

    #[test]
    fn who_changes_something_brings_the_token() {
        let headers = |value: &'static str| HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))]);
        let options = Options { admin: Some(secret("a token for admins")), ..Options::default() };
        assert!(options.may_change(&headers("Bearer a token for admins")));
        assert!(options.may_change(&headers("bearer a token for admins")));
        for wrong in ["", "Bearer ", "Bearer a token for admin", "Basic a token for admins", "a token for admins"] {
            assert!(!options.may_change(&headers(wrong)), "{wrong}");
        }
        assert!(!options.may_change(&HeaderMap::new()));
        assert!(!Options::default().may_change(&headers("Bearer ")));
    }

    #[test]
    fn only_named_pages_may_read() {
        let options =
            Options { cors_origins: vec![HeaderValue::from_static("https://player.example")], ..Options::default() };
        let shared = |options: &Options, origin: Option<&'static str>| {
            let mut response = Problem::new(StatusCode::NOT_FOUND, "x", "x").response(&Method::GET);
            let mut request = get("/a/master.m3u8");
            request.headers_mut().extend(origin.map(|origin| (ORIGIN, HeaderValue::from_static(origin))));
            options.share(&request, &mut response);
            let allowed = response.headers().get(ACCESS_CONTROL_ALLOW_ORIGIN).cloned();
            (allowed, response.headers().contains_key(VARY))
        };
        let named = HeaderValue::from_static("https://player.example");
        assert_eq!(shared(&options, Some("https://player.example")), (Some(named), true));
        assert_eq!(shared(&options, Some("https://other.example")), (None, true));
        assert_eq!(shared(&options, None), (None, true));
        assert_eq!(
            shared(&Options::default(), Some("https://other.example")),
            (Some(HeaderValue::from_static("*")), false)
        );
    }

    #[test]
    fn a_library_has_its_own_pages_however_its_urls_are_spelled() {
        let (site, partner) = (HeaderValue::from_static("https://site.example"), "https://partner.example");
        let below = |prefix: &str, origins: &[&'static str]| {
            (prefix.to_owned(), origins.iter().map(|origin| HeaderValue::from_static(origin)).collect())
        };
        let options = Options {
            cors_origins: vec![site],
            cors_below: vec![
                below("films/new", &["https://new.example"]),
                below("films", &[partner]),
                below("free", &[]),
            ],
            ..Options::default()
        };
        for (path, readers) in [
            ("/tour/master.m3u8", &["https://site.example"][..]),
            ("/filmset/master.m3u8", &["https://site.example"]),
            ("/films/a/master.m3u8", &[partner]),
            ("/%66ilms/a/master.m3u8", &[partner]),
            ("/films/new/a/master.m3u8", &["https://new.example"]),
            ("/free/a/master.m3u8", &["https://site.example", partner, "https://new.example"]),
        ] {
            for origin in ["https://site.example", partner, "https://new.example"] {
                let mut response = Problem::new(StatusCode::NOT_FOUND, "x", "x").response(&Method::GET);
                let mut request = get(path);
                request.headers_mut().insert(ORIGIN, HeaderValue::from_static(origin));
                options.share(&request, &mut response);
                let may_read = response.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN);
                assert_eq!(may_read, readers.contains(&origin), "{origin} reads {path}");
            }
        }
    }

    #[test]
    fn what_is_denied_is_kept_by_nobody() {
        for denial in Denial::ALL {
            let response = denied(*denial, &Method::GET);
            assert_eq!(response.status(), 403);
            assert_eq!(response.headers()[http::header::CACHE_CONTROL], "no-store");
        }
    }
}
