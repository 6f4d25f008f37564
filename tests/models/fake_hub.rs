//! A web server of a few lines that plays the hub, or the storage behind it, as well or as badly as a test
//! wants.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What a client asked.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    /// By lower-case name.
    pub headers: HashMap<String, String>,
    /// How many requests came before it.
    pub number: usize,
}

impl Request {
    /// First byte of the range asked for.
    pub fn from(&self) -> Option<usize> {
        self.headers.get("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// What the server does about it.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// Does not say the length of the body beforehand.
    pub without_length: bool,
    /// Closes the connection after so many bytes of the body.
    pub cut_after: Option<usize>,
    /// Falls silent after so many bytes of the body, for so long.
    pub stall: Option<(usize, Duration)>,
    /// Sends the body in pieces with pauses between them.
    pub trickle: Option<(usize, Duration)>,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub fn redirect(location: String) -> Self {
        Self::status(302).with("Location", location)
    }

    /// The whole file.
    pub fn whole(file: &[u8]) -> Self {
        Self { status: 200, body: file.to_vec(), ..Self::default() }
    }

    /// What was asked for: the whole file, a part, or 416.
    pub fn file(file: &[u8], request: &Request) -> Self {
        match request.from() {
            None => Self::whole(file),
            Some(from) if from < file.len() => {
                let range = format!("bytes {from}-{}/{}", file.len() - 1, file.len());
                Self { status: 206, body: file[from..].to_vec(), ..Self::default() }
                    .with("Content-Range", range)
            }
            Some(_) => Self::status(416).with("Content-Range", format!("bytes */{}", file.len())),
        }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A server on a port of its own, until it is dropped.
pub struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers each request as `answer` says, each in a thread of its own.
    pub fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let (log, over, answer) = (Arc::clone(&requests), Arc::clone(&is_over), Arc::new(answer));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                // A client that goes away early is none of the server's business.
                thread::spawn(move || stream.and_then(|stream| serve(stream, &log, &*answer)));
            }
        });
        Self { address, requests, is_over, thread: Some(thread) }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("unpoisoned").clone()
    }

    /// First bytes of the ranges asked for, in order.
    pub fn ranges(&self) -> Vec<Option<usize>> {
        self.requests().iter().map(Request::from).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    mut stream: TcpStream,
    log: &Mutex<Vec<Request>>,
    answer: &dyn Fn(&Request) -> Reply,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = HashMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let request = {
        let mut log = log.lock().expect("unpoisoned");
        let request = Request { path, headers, number: log.len() };
        log.push(request.clone());
        request
    };
    send(&mut stream, &answer(&request))
}

fn send(stream: &mut TcpStream, reply: &Reply) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Status\r\nConnection: close\r\n", reply.status);
    if !reply.without_length {
        head += &format!("Content-Length: {}\r\n", reply.body.len());
    }
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    let body = &reply.body[..reply.cut_after.unwrap_or(reply.body.len()).min(reply.body.len())];
    let (before, after) = body.split_at(reply.stall.map_or(body.len(), |(bytes, _)| bytes.min(body.len())));
    let (piece, pause) = reply.trickle.unwrap_or((usize::MAX, Duration::ZERO));
    for piece in before.chunks(piece.min(before.len().max(1))) {
        stream.write_all(piece)?;
        thread::sleep(pause);
    }
    if let Some((_, silence)) = reply.stall {
        thread::sleep(silence);
    }
    stream.write_all(after)
}
