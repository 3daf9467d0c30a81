//! From a URL to a storage: `s3://`, `gs://`, `az://`, `https://`, with credentials from the usual environment.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, RetryConfig};

use crate::content::remote::store::{Options, Store};
use crate::telemetry::Telemetry;

/// For a connection to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The schemes of storages.
const SCHEMES: [&str; 5] = ["s3", "gs", "az", "https", "http"];

/// What media lies in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A storage that lists what it holds.
    Listed,
    /// A web server, which does not.
    Web,
}

/// A URL of a storage: `scheme://bucket/prefix`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    scheme: String,
    /// Bucket, container, or host and port.
    bucket: String,
    /// Without slashes at its ends; may be empty.
    prefix: String,
}

impl Place {
    /// The place that `url` names; `None` if it is no URL but a path.
    pub fn parse(url: &str) -> Option<Result<Place, String>> {
        let (scheme, rest) = url.split_once("://")?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let place = Place {
            scheme: scheme.to_ascii_lowercase(),
            bucket: bucket.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
        };
        Some(if !SCHEMES.contains(&&place.scheme[..]) {
            Err(format!("{scheme}:// is no storage; {} are", SCHEMES.join(", ")))
        } else if place.bucket.is_empty() || place.bucket.contains('@') {
            Err("a storage is named scheme://bucket/prefix; credentials come from the environment".to_owned())
        } else if prefix.contains(['?', '#']) {
            Err("a storage is named without a query".to_owned())
        } else {
            Ok(place)
        })
    }

    /// Whether it can be listed.
    pub fn kind(&self) -> Kind {
        if self.scheme.starts_with("http") { Kind::Web } else { Kind::Listed }
    }

    /// Connects to it, as `options` say. Nothing is asked yet. To be called within a runtime.
    pub fn connect(&self, options: Options, telemetry: Arc<Telemetry>) -> Result<Store, String> {
        let client = ClientOptions::new()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_timeout(options.timeout)
            .with_allow_http(self.scheme == "http");
        // Attempts are ours: bounded together, counted, and also where a body ends early.
        let retry = RetryConfig { max_retries: 0, retry_timeout: options.timeout, ..RetryConfig::default() };
        let built = match &self.scheme[..] {
            "s3" => s3(&self.bucket, client, retry),
            "gs" => GoogleCloudStorageBuilder::from_env()
                .with_bucket_name(&self.bucket)
                .with_client_options(client)
                .with_retry(retry)
                .build()
                .map(arc),
            "az" => MicrosoftAzureBuilder::from_env()
                .with_container_name(&self.bucket)
                .with_client_options(client)
                .with_retry(retry)
                .build()
                .map(arc),
            _ => HttpBuilder::new()
                .with_url(format!("{}://{}", self.scheme, self.bucket))
                .with_client_options(client)
                .with_retry(retry)
                .build()
                .map(arc),
        };
        let objects = built.map_err(|error| format!("{self}: {error}"))?;
        let prefix = Path::parse(&self.prefix).map_err(|error| format!("{self}: {error}"))?;
        Ok(Store::new(objects, prefix, self.to_string(), options, telemetry))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.scheme, self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

fn arc(store: impl ObjectStore) -> Arc<dyn ObjectStore> {
    Arc::new(store)
}

/// S3 as the environment describes it (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `AWS_REGION`, ...), else the files of its own tools.
fn s3(bucket: &str, client: ClientOptions, retry: RetryConfig) -> object_store::Result<Arc<dyn ObjectStore>> {
    use AmazonS3ConfigKey as Key;
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry);
    let is_set = |builder: &AmazonS3Builder, key| builder.get_config_value(&key).is_some();
    for (key, value) in profile() {
        let key = match &key[..] {
            "aws_access_key_id" => Key::AccessKeyId,
            "aws_secret_access_key" => Key::SecretAccessKey,
            "aws_session_token" => Key::Token,
            "region" => Key::Region,
            "endpoint_url" => Key::Endpoint,
            _ => continue,
        };
        // One without the other is none: keys of the environment are not mixed with those of a file.
        let is_of_environment = std::env::var_os("AWS_ACCESS_KEY_ID").is_some()
            && matches!(key, Key::AccessKeyId | Key::SecretAccessKey | Key::Token);
        if !is_of_environment && !is_set(&builder, key) {
            builder = builder.with_config(key, value);
        }
    }
    // An endpoint without TLS that is written out is meant.
    let endpoint = [Key::S3Endpoint, Key::Endpoint].iter().find_map(|key| builder.get_config_value(key));
    let is_plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    builder.with_client_options(client.with_allow_http(is_plain)).build().map(arc)
}

/// What the files of AWS's own tools say of the profile in use.
fn profile() -> Vec<(String, String)> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let file = |variable: &str, name: &str| {
        let path = std::env::var_os(variable).map_or_else(|| home.join(".aws").join(name), PathBuf::from);
        std::fs::read_to_string(path).unwrap_or_default()
    };
    let profile = std::env::var("AWS_PROFILE").unwrap_or_else(|_| "default".to_owned());
    let mut said = section(&file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), &profile);
    let in_config = if profile == "default" { profile } else { format!("profile {profile}") };
    said.extend(section(&file("AWS_CONFIG_FILE", "config"), &in_config));
    said
}

/// The keys and values below `[name]`.
fn section(text: &str, name: &str) -> Vec<(String, String)> {
    let mut inside = false;
    let mut said = Vec::new();
    for line in text.lines() {
        if let Some(heading) = line.trim().strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            inside = heading.trim() == name;
        } else if inside
            && !line.starts_with([' ', '\t', '#', ';'])
            && let Some((key, value)) = line.split_once('=')
        {
            said.push((key.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_url_and_a_path_is_none() {
        let shown = |url: &str| Place::parse(url).map(|place| place.map(|place| place.to_string()));
        assert_eq!(shown("media/films"), None);
        assert_eq!(shown("s3://bucket"), Some(Ok("s3://bucket".to_owned())));
        assert_eq!(shown("S3://bucket/a/b/"), Some(Ok("s3://bucket/a/b".to_owned())));
        assert_eq!(shown("https://host:8443/x"), Some(Ok("https://host:8443/x".to_owned())));
        for wrong in ["ftp://host/x", "s3:///x", "s3://key:secret@bucket/x", "https://host/x?sig=1"] {
            assert!(shown(wrong).is_some_and(|place| place.is_err()), "{wrong}");
        }
    }

    #[test]
    fn a_profile_is_read_from_its_section() {
        let text = "[default]\naws_access_key_id = A\n\n[profile other]\n# no\nregion=eu-west-1\ns3 =\n  addressing_style = path\n";
        let is = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(section(text, "default"), [is("aws_access_key_id", "A")]);
        assert_eq!(section(text, "profile other"), [is("region", "eu-west-1"), is("s3", "")]);
        assert_eq!(section(text, "third"), []);
    }
}
