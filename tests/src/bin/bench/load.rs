//! The load generator: sends signed webhooks over kept connections, either as many as go or at a given rate.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use portolan::stage::{SIGNING_SECRET, signed_headers};
use tokio::{
    net::TcpStream,
    sync::{Mutex, Semaphore},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{book::Book, charge::Webhooks};

/// Connections that send as many as go.
const CONNECTIONS: usize = 32;
/// Requests of a paced phase that may wait for their answers; one over it waits for a place, and its time runs.
const OPEN_MAX: usize = 256;
/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long events under way may take to end after a phase.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// Sends to one host.
#[derive(Debug)]
pub(crate) struct Load {
    address: SocketAddr,
    /// Paths of the sources, one for each tenant: taken in turns.
    hooks: Vec<String>,
    webhooks: Webhooks,
    pub(crate) book: Arc<Book>,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl Load {
    pub(crate) fn new(address: SocketAddr, hooks: Vec<String>, book: Arc<Book>) -> anyhow::Result<Arc<Self>> {
        let webhooks = Webhooks::new()?;
        Ok(Arc::new(Self { address, hooks, webhooks, book, idle: Mutex::default() }))
    }

    /// Bytes of a webhook.
    pub(crate) fn body_bytes(&self) -> usize {
        self.webhooks.body(0).len()
    }

    /// Sends so many, as fast as they go, and waits until the ERP has all.
    pub(crate) async fn warm_up(self: &Arc<Self>, events: usize) -> anyhow::Result<()> {
        let until = self.book.sent() + events;
        self.flood(move |load| load.book.sent() < until).await?;
        self.settle().await
    }

    /// Sends as many as go for a time, and says how many the ERP saw in that time, per second.
    pub(crate) async fn full(self: &Arc<Self>, lasting: Duration) -> anyhow::Result<f64> {
        let (began, before) = (self.book.time(), self.book.arrivals());
        let until = began + lasting;
        let counted = async {
            sleep(lasting).await;
            let arrived = self.book.arrivals().saturating_sub(before);
            arrived as f64 / self.book.time().saturating_sub(began).as_secs_f64()
        };
        let (rate, sent) = tokio::join!(counted, self.flood(move |load| load.book.time() < until));
        sent?;
        self.settle().await?;
        Ok(rate)
    }

    /// Sends at a steady rate, whether or not answers come, and says the number of the first event.
    pub(crate) async fn paced(self: &Arc<Self>, per_second: f64, lasting: Duration) -> anyhow::Result<usize> {
        let first = self.book.sent();
        let began = Instant::now();
        let open = Arc::new(Semaphore::new(OPEN_MAX));
        let mut senders = JoinSet::new();
        let events = (per_second * lasting.as_secs_f64()) as u32;
        for index in 0..events {
            sleep_until(began + Duration::from_secs_f64(f64::from(index) / per_second)).await;
            let Some(number) = self.book.send() else { break };
            let (load, open) = (self.clone(), open.clone());
            senders.spawn(async move {
                // Nobody closes it.
                let _place = open.acquire_owned().await;
                let connection = load.idle.lock().await.pop();
                let connection = load.exchange(connection, number).await;
                load.idle.lock().await.extend(connection);
            });
            while senders.try_join_next().is_some() {}
        }
        while senders.join_next().await.is_some() {}
        self.settle().await?;
        Ok(first)
    }

    async fn flood(
        self: &Arc<Self>,
        goes_on: impl Fn(&Self) -> bool + Copy + Send + 'static,
    ) -> anyhow::Result<()> {
        let mut senders = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let load = self.clone();
            senders.spawn(async move {
                let mut connection = load.idle.lock().await.pop();
                while goes_on(&load) {
                    let Some(number) = load.book.send_with_place().await else { break };
                    connection = load.exchange(connection, number).await;
                }
                load.idle.lock().await.extend(connection);
            });
        }
        while let Some(ended) = senders.join_next().await {
            ended?;
        }
        Ok(())
    }

    /// Sends one event and books the answer. Gives the connection back if it can be used again.
    async fn exchange(
        &self,
        connection: Option<SendRequest<Full<Bytes>>>,
        number: usize,
    ) -> Option<SendRequest<Full<Bytes>>> {
        let sent = timeout(ANSWER_WITHIN, self.send(connection, number)).await;
        let sent = sent.map_err(anyhow::Error::from).and_then(|sent| sent);
        match sent {
            Ok((connection, is_success)) => {
                self.book.answered(number, is_success);
                Some(connection)
            }
            Err(error) => {
                eprintln!("event {number} was not answered: {error:#}");
                self.book.answered(number, false);
                None
            }
        }
    }

    async fn send(
        &self,
        connection: Option<SendRequest<Full<Bytes>>>,
        number: usize,
    ) -> anyhow::Result<(SendRequest<Full<Bytes>>, bool)> {
        let mut connection = match connection {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let body = self.webhooks.body(number);
        let hook = self.hooks.get(number % self.hooks.len().max(1)).context("no source")?;
        let mut request = Request::post(hook)
            .header("host", self.address.to_string())
            .header("content-type", "application/json");
        for (name, value) in signed_headers(SIGNING_SECRET, body.as_bytes()) {
            request = request.header(name, value);
        }
        connection.ready().await?;
        let response = connection.send_request(request.body(Full::from(body))?).await?;
        let is_success = response.status().is_success();
        response.into_body().collect().await?;
        Ok((connection, is_success))
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    async fn settle(&self) -> anyhow::Result<()> {
        let settled = async {
            while !self.book.is_settled() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let account = || format!("events are still under way: {:?}", self.book.account());
        timeout(SETTLED_WITHIN, settled).await.with_context(account)
    }
}
