//! Reading the configuration again because an admin call asks for it: the call waits for what comes of it, which is up to who has read the
//! configuration at the start.

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

/// Calls that wait: each reads the configuration again, so the second finds what the first did.
const WAITING_MAX: usize = 4;

/// What a reload came to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Reloaded {
    /// Keys whose new value is in use, by requests that begin from now on; what bounds a connection itself, by connections.
    pub changed: Vec<String>,
    /// Keys whose new value is used after a restart.
    pub needs_restart: Vec<String>,
}

/// Why nothing was reloaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NoReload {
    /// What is written is wrong: where, and how.
    Wrong(String),
    /// Too many wait for one.
    Busy,
    /// Nobody reads a configuration here.
    Nobody,
}

/// A call that waits.
#[derive(Debug)]
pub struct Call(oneshot::Sender<Result<Reloaded, String>>);

/// Where calls are made.
#[derive(Clone, Debug)]
pub struct Reloader(mpsc::Sender<Call>);

/// The two ends of a way for calls.
pub fn channel() -> (Reloader, mpsc::Receiver<Call>) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    (Reloader(sender), receiver)
}

impl Call {
    /// Says what came of it, if somebody still waits.
    pub fn answer(self, result: Result<Reloaded, String>) {
        let _ = self.0.send(result);
    }
}

impl Reloader {
    /// Calls for a reload, and waits. Dropping the future leaves it under way.
    pub async fn reload(&self) -> Result<Reloaded, NoReload> {
        let (sender, receiver) = oneshot::channel();
        self.0.try_send(Call(sender)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NoReload::Busy,
            mpsc::error::TrySendError::Closed(_) => NoReload::Nobody,
        })?;
        match receiver.await {
            Ok(result) => result.map_err(NoReload::Wrong),
            Err(_) => Err(NoReload::Nobody),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_wait_for_an_answer_and_too_many_do_not() {
        let (reloader, mut calls) = channel();
        let waiting: Vec<_> = (0..WAITING_MAX)
            .map(|_| {
                let reloader = reloader.clone();
                tokio::spawn(async move { reloader.reload().await })
            })
            .collect();
        while calls.len() < WAITING_MAX {
            tokio::task::yield_now().await;
        }
        assert_eq!(reloader.reload().await, Err(NoReload::Busy));
        let reloaded = Reloaded { changed: vec!["url-max".into()], needs_restart: vec![] };
        for number in 0..WAITING_MAX {
            let result = if number == 0 { Err("line 7".to_owned()) } else { Ok(reloaded.clone()) };
            calls.recv().await.unwrap().answer(result);
        }
        let mut results = Vec::new();
        for waiting in waiting {
            results.push(waiting.await.unwrap());
        }
        assert_eq!(results.iter().filter(|result| **result == Ok(reloaded.clone())).count(), WAITING_MAX - 1);
        assert!(results.contains(&Err(NoReload::Wrong("line 7".into()))));
        drop(calls);
        assert_eq!(reloader.reload().await, Err(NoReload::Nobody));
    }
}
