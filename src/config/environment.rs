//! Options in the environment: `HEADWATER_SEGMENT_DURATION=4s`. They go before the file, and options of the command line before them.

use crate::config::error::Error;
use crate::config::keys::TABLES;
use crate::config::written::Written;

/// What `variables` say, and the names of those that begin as ours do and are none.
///
/// The latter are no error: where containers are managed, others write variables that begin with the name of a service
/// (`HEADWATER_PORT`, `HEADWATER_SERVICE_HOST`).
pub fn written(variables: impl Iterator<Item = (String, String)>) -> Result<(Written, Vec<String>), Error> {
    let (mut written, mut unknown) = (Written::default(), Vec::new());
    for (variable, value) in variables.filter(|(variable, _)| variable.starts_with("HEADWATER_")) {
        let keys = TABLES.iter().flat_map(|table| table.keys.iter().map(move |key| (table, key)));
        // What to serve is an argument of the command line.
        let known = keys.filter(|(table, key)| (table.name, key.name) != ("", "source"));
        let Some((table, key)) = known.into_iter().find(|(table, key)| table.variable(key) == variable) else {
            unknown.push(variable);
            continue;
        };
        let head = if table.name.is_empty() { String::new() } else { format!("[{}]\n", table.name) };
        let parse = |value: &str| toml::from_str::<Written>(&format!("{head}{} = {value}\n", key.name));
        // Most values are text; numbers, lists and the like are written as in a file.
        let as_text = parse(&toml::Value::String(value.clone()).to_string());
        let as_written = if value.contains(['\n', '\r']) { None } else { parse(&value).ok() };
        let said = match (as_written, as_text) {
            (_, Ok(said)) | (Some(said), Err(_)) => said,
            (None, Err(_)) if key.is_secret => {
                return Err(Error::Variable { variable, message: "a value that cannot be used".into() });
            }
            (None, Err(cause)) => {
                return Err(Error::Variable { variable, message: cause.message().trim_end().replace('\n', " ") });
            }
        };
        written = said.over(written);
    }
    unknown.sort();
    Ok((written, unknown))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<(Written, Vec<String>), Error> {
        written(variables.iter().map(|(name, value)| (name.to_string(), value.to_string())))
    }

    #[test]
    fn a_variable_says_what_a_key_of_the_file_would() {
        let variables = [
            ("HEADWATER_PREFETCH", "3"),
            ("HEADWATER_SEGMENT_DURATION", "4s"),
            ("HEADWATER_FOLLOW_SYMLINKS", "true"),
            ("HEADWATER_KEY_URI", "skd://\"{kid}\""),
            ("PATH", "/bin"),
            ("HEADWATER_SERVICE_HOST", "10.0.0.1"),
        ];
        let (said, unknown) = read(&variables).unwrap();
        let toml = "prefetch = 3\nsegment-duration = \"4s\"\nfollow-symlinks = true\nkey-uri = 'skd://\"{kid}\"'\n";
        assert_eq!(said, toml::from_str(toml).unwrap());
        assert_eq!(unknown, ["HEADWATER_SERVICE_HOST"]);
    }

    #[test]
    fn a_wrong_value_is_an_error_that_names_the_variable_and_sets_nothing_else() {
        let error = |name, value| read(&[(name, value)]).unwrap_err().to_string();
        assert!(error("HEADWATER_GRACE", "soon").starts_with("HEADWATER_GRACE: \"soon\" is no duration"));
        assert!(error("HEADWATER_PREFETCH", "2\nthreads = 1").starts_with("HEADWATER_PREFETCH: "));
    }
}
