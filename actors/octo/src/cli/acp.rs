//! `octo acp`: an agent of the Agent Client Protocol on standard input and output, in front of an octo that serves.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use octo::acp::remote::{Remote, Token};
use octo::acp::{Back, Ends, MAX_MESSAGE_BYTES, Machine, drive};
use octo::config::Environment;
use octo::door;
use octo_protocol::admin::Door;
use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::arguments::Acp;
use super::exit::Failure;
use super::output::Output;

/// Where the token comes from; never an argument, which others can see.
const TOKEN: &str = "OCTO_AUTH_TOKEN";
/// The file that is read when nothing else says a token, in the folder of the configuration.
const TOKEN_FILE: &str = "token";
/// Largest file with a token, and largest note of octo, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// Messages and commands on their way.
const MESSAGES: usize = 16;
/// How long what was asked last may take to reach octo once the client has left.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// Pumps until the client has left.
pub fn run(acp: Acp, file: Option<PathBuf>, output: Output) -> Result<(), Failure> {
    let env = Environment::process();
    let paths = door::guess(&env, file.as_deref()).ok_or_else(|| Failure::other("HOME is not set: octo's files cannot be found"))?;
    let url = match acp.url {
        Some(url) => url,
        None => {
            let note: Option<Door> = read(&paths.door()).ok().and_then(|text| serde_json::from_str(&text).ok());
            note.map(|door| door.url).ok_or_else(|| {
                let looked = paths.door().display().to_string();
                Failure::unavailable(format!(
                    "octo was never started here ({looked} is not there): start it with `octo serve`, or say where it is with --url"
                ))
            })?
        }
    };
    let default = paths.config_file.with_file_name(TOKEN_FILE);
    let remote = Remote::new(&url, token(acp.token_file, default)).map_err(Failure::other)?;
    let runtime = super::runtime()?;
    let refused = runtime.block_on(pump(remote, acp.harness, output));
    // Standard input may be read still, in a thread that nothing wakes.
    runtime.shutdown_background();
    if refused { Err(Failure::unavailable("octo could not be used; the lines above say why")) } else { Ok(()) }
}

/// True when octo was not to be had.
async fn pump(remote: Remote, harness: Option<String>, output: Output) -> bool {
    let (hear, heard) = mpsc::channel(MESSAGES);
    let (said, saying) = mpsc::channel(MESSAGES);
    let (asked, asking) = mpsc::channel(MESSAGES);
    let (tell, mut told) = mpsc::channel(1);
    let refused = AtomicBool::new(false);
    let back = futures_util::stream::poll_fn(|context| {
        let back = told.poll_recv(context);
        if matches!(back, std::task::Poll::Ready(Some(Back::Refused(_)))) {
            refused.store(true, Relaxed);
        }
        back
    });
    let driving = async {
        let mut machine = Machine::new(harness);
        drive(&mut machine, Ends { heard, said, back, asked }).await;
    };
    tokio::spawn(listen(hear));
    let speaking = tokio::spawn(speak(saying));
    let running = remote.run(asking, tell, |text| output.note(text));
    {
        let both = async { tokio::join!(driving, running) };
        tokio::pin!(both);
        tokio::select! {
            _ = &mut both => {}
            // Nobody reads what is said any more.
            () = closed(speaking) => {
                let _ = tokio::time::timeout(FINISH_WITHIN, both).await;
            }
        }
    }
    refused.load(Relaxed)
}

async fn closed(speaking: tokio::task::JoinHandle<()>) {
    let _ = speaking.await;
}

/// Lines of standard input, as messages.
async fn listen(hear: mpsc::Sender<Utf8Bytes>) {
    let mut input = BufReader::new(tokio::io::stdin());
    while let Ok(Some(line)) = next_line(&mut input).await {
        if !line.trim().is_empty() && hear.send(line.into()).await.is_err() {
            return;
        }
    }
}

/// The next line. One that is too long, or no text, is read to its end and stands there as what it is: no message.
async fn next_line(input: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<String>> {
    let (mut line, mut too_long, mut any) = (Vec::new(), false, false);
    loop {
        let piece = input.fill_buf().await?;
        if piece.is_empty() {
            if !any {
                return Ok(None);
            }
            break;
        }
        any = true;
        let end = piece.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(piece.len(), |end| end + 1);
        if line.len() + taken > MAX_MESSAGE_BYTES + 1 {
            too_long = true;
        } else {
            line.extend_from_slice(&piece[..taken]);
        }
        input.consume(taken);
        if end.is_some() {
            break;
        }
    }
    if too_long {
        return Ok(Some(format!("a line of more than {MAX_MESSAGE_BYTES} bytes")));
    }
    Ok(Some(String::from_utf8(line).unwrap_or_else(|_| "a line that is not UTF-8".to_owned())))
}

/// Messages, as lines of standard output.
async fn speak(mut saying: mpsc::Receiver<Value>) {
    let mut output = tokio::io::stdout();
    while let Some(message) = saying.recv().await {
        let mut line = message.to_string();
        line.push('\n');
        if output.write_all(line.as_bytes()).await.is_err() || output.flush().await.is_err() {
            return;
        }
    }
}

/// From the environment, the file that was named, or the one beside the configuration.
fn token(named: Option<PathBuf>, default: PathBuf) -> Token {
    Box::new(move || {
        let of_env = std::env::var(TOKEN).ok().filter(|token| !token.is_empty());
        if let (Some(token), None) = (of_env, &named) {
            return Ok(token);
        }
        let file = named.as_ref().unwrap_or(&default);
        let sentence = |why: String| {
            format!("there is no token: {why}; put one into {TOKEN}, or into {} (docs/acp.md says how to get one)", file.display())
        };
        let text = read(file).map_err(|error| sentence(error.to_string()))?;
        let mode = std::fs::metadata(file).map_err(|error| sentence(error.to_string()))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(format!("others may read the token in {}: chmod 600 it, and make a new one if they did", file.display()));
        }
        let token = text.trim();
        if token.is_empty() { Err(sentence("the file is empty".to_owned())) } else { Ok(token.to_owned()) }
    })
}

fn read(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(file)?.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_line_that_is_none_stands_there_as_what_it_is() {
        let long = vec![b'x'; MAX_MESSAGE_BYTES + 10];
        let bytes = [b"{}\n".as_slice(), &long, b"\n\xff\n{1}"].concat();
        let mut input = BufReader::new(bytes.as_slice());
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut input).await.unwrap() {
            lines.push(line);
        }
        assert_eq!(lines[0], "{}\n");
        assert!(lines[1].contains("more than") && lines[2].contains("UTF-8"));
        assert_eq!(lines[3], "{1}");
    }

    #[test]
    fn a_token_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, " abc\n").unwrap();
        let give = token(Some(file.clone()), file.clone());
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(give().unwrap_err().contains("chmod 600"));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(give().unwrap(), "abc");
    }
}
