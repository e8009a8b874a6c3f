//! A server and its clients as asynchronous tasks on a runtime with a thread a core: each client is a task
//! that sends boxed requests over a channel to one of a few services and awaits each reply, which comes
//! over a channel of its own; a service spawns a task for each request. One unit of scale is 200 clients.

use std::collections::BTreeMap;
use std::thread;
use std::time::Instant;

use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::Outcome;
use crate::digest;

const CLIENTS: u64 = 200;
const REQUESTS_PER_CLIENT: u64 = 20;
const SERVICES: usize = 4;
const QUEUE: usize = 64;

struct Request {
    path: String,
    headers: BTreeMap<String, String>,
    reply: oneshot::Sender<Box<Response>>,
}

struct Response {
    status: u16,
    body: Vec<String>,
}

pub fn run(units: u32) -> Result<Outcome, String> {
    let start = Instant::now();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let runtime = Builder::new_multi_thread()
        .worker_threads(cores)
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    let mut checksum = 0_u64;
    for _ in 0..units {
        checksum = checksum.wrapping_add(runtime.block_on(serve_clients())?);
    }
    drop(runtime);
    Ok(Outcome { elapsed: start.elapsed(), checksum })
}

/// The sum of what the clients received; in which order does not matter.
async fn serve_clients() -> Result<u64, String> {
    let mut services = JoinSet::new();
    let addresses: Vec<mpsc::Sender<Box<Request>>> = (0..SERVICES)
        .map(|_| {
            let (sender, receiver) = mpsc::channel(QUEUE);
            services.spawn(serve(receiver));
            sender
        })
        .collect();
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(ask(client, addresses.clone()));
    }
    drop(addresses);
    let mut received = 0_u64;
    while let Some(client) = clients.join_next().await {
        let sum = client.map_err(|error| format!("a client: {error}"))??;
        received = received.wrapping_add(sum);
    }
    while services.join_next().await.is_some() {}
    Ok(received)
}

async fn ask(client: u64, addresses: Vec<mpsc::Sender<Box<Request>>>) -> Result<u64, String> {
    let mut received = 0_u64;
    for number in 0..REQUESTS_PER_CLIENT {
        let (reply, replied) = oneshot::channel();
        let headers = [("accept", "text/html"), ("host", "example.com"), ("connection", "close")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let path = format!("/clients/{client}/pages/{number}");
        let request = Box::new(Request { path, headers: headers.into(), reply });
        let service = (client + number) as usize % addresses.len();
        addresses[service].send(request).await.map_err(|_| "a service is gone")?;
        let response = replied.await.map_err(|_| "a request was dropped")?;
        received = received.wrapping_add(digest::of(&response.body) ^ u64::from(response.status));
    }
    Ok(received)
}

async fn serve(mut requests: mpsc::Receiver<Box<Request>>) {
    while let Some(request) = requests.recv().await {
        tokio::spawn(answer(request));
    }
}

async fn answer(request: Box<Request>) {
    let Request { path, headers, reply } = *request;
    let mut body: Vec<String> = path.split('/').map(|part| format!("<p>{part}</p>")).collect();
    // Lets other requests overtake this one, as waiting for a database would.
    tokio::task::yield_now().await;
    body.extend(headers.iter().map(|(name, value)| format!("{name}: {value}")));
    let status = if body.len().is_multiple_of(2) { 200 } else { 404 };
    // A client that no longer listens is no concern of the service.
    let _ = reply.send(Box::new(Response { status, body }));
}
