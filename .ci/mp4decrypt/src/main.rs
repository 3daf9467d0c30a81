//! `mp4decrypt --key KID:KEY.. IN OUT`: decrypts the MP4 file IN (initialization segment and media segments joined), whose protection
//! scheme is one of Common Encryption (ISO/IEC 23001-7). KID and KEY are 32 hexadecimal digits each.

use std::process::ExitCode;

use mp4decrypt::Ap4CencDecryptingProcessor;

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("mp4decrypt: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: impl Iterator<Item = String>) -> Result<(), String> {
    let mut processor = Ap4CencDecryptingProcessor::new();
    let mut paths = Vec::new();
    while let Some(argument) = arguments.next() {
        let pair = match argument.strip_prefix("--key") {
            Some("") => arguments.next().ok_or("--key needs KID:KEY")?,
            Some(pair) => pair.trim_start_matches('=').to_owned(),
            None => {
                paths.push(argument);
                continue;
            }
        };
        let (kid, key) = pair.split_once(':').ok_or_else(|| format!("{pair} is not KID:KEY"))?;
        processor = processor.key(kid, key).map_err(|error| error.to_string())?;
    }
    let [from, to] = &paths[..] else { return Err("usage: mp4decrypt --key KID:KEY.. IN OUT".to_owned()) };
    let processor = processor.build().map_err(|error| error.to_string())?;
    processor.decrypt_file(from, to, None).map_err(|error| format!("{from}: {error}"))
}
