//! A PLC directory of a few lines: `/export` over plain HTTP, with the faults that real ones have.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

/// An answer other than the operations that were asked for.
#[derive(Debug, Clone)]
pub enum Fault {
    /// A status and more of the head, such as `429 Too Many Requests\r\nretry-after: 1`.
    Status(String),
    /// A body as it is.
    Body(String),
    /// The operations, without the last so many bytes.
    Cut(usize),
    /// Nothing, for so long.
    Silence(Duration),
}

#[derive(Debug, Default)]
pub struct State {
    /// createdAt (unix ms) and line, in the order of time.
    pub operations: Vec<(u64, String)>,
    /// Answers to come before good ones.
    pub faults: VecDeque<Fault>,
    /// How long a good answer takes.
    pub delay: Duration,
    /// Most operations in an answer.
    pub page_lines: usize,
    /// `after` of each question, and when it came.
    pub asked: Vec<(String, Instant)>,
}

pub struct Directory {
    pub url: String,
    pub state: Arc<Mutex<State>>,
}

impl Directory {
    /// One with operations at these times (ms after the beginning of 2026).
    pub fn new(times: impl IntoIterator<Item = u64>, page_lines: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { page_lines, ..State::default() }));
        let directory = Self { url, state: Arc::clone(&state) };
        for time in times {
            directory.add(time);
        }
        thread::spawn(move || {
            for socket in listener.incoming() {
                let state = Arc::clone(&state);
                thread::spawn(move || serve(socket.unwrap(), &state));
            }
        });
        directory
    }

    /// Adds an operation.
    pub fn add(&self, time: u64) {
        let mut state = self.state.lock().unwrap();
        let number = state.operations.len();
        let created_ms = 1_767_225_600_000 + time;
        let (secs, ms) = (time / 1000, time % 1000);
        assert!(secs < 86_400);
        let clock = format!("{:02}:{:02}:{:02}.{ms:03}", secs / 3600, secs / 60 % 60, secs % 60);
        // An escape and an odd space, so that a line that was written anew would show.
        let line = format!(
            "{{\"did\":\"did:plc:{number:024}\", \"operation\":{{\"sig\":\"\\u0041{number}\"}},\
             \"cid\":\"bafy{number}\",\"nullified\":false,\"createdAt\":\"2026-01-01T{clock}Z\"}}"
        );
        let at = state.operations.partition_point(|(time, _)| *time <= created_ms);
        state.operations.insert(at, (created_ms, line));
    }

    pub fn fault(&self, fault: Fault) {
        self.state.lock().unwrap().faults.push_back(fault);
    }

    /// The lines in the order of time.
    pub fn lines(&self) -> Vec<String> {
        self.state.lock().unwrap().operations.iter().map(|(_, line)| line.clone()).collect()
    }

    pub fn requests(&self) -> usize {
        self.state.lock().unwrap().asked.len()
    }
}

fn serve(mut socket: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    loop {
        let mut request = String::new();
        if !matches!(reader.read_line(&mut request), Ok(1..)) {
            return;
        }
        let mut header = String::new();
        while reader.read_line(&mut header).is_ok() && header.trim_end() != "" {
            header.clear();
        }
        let (head, body, cut, pause) = answer(&request, &mut state.lock().unwrap());
        thread::sleep(pause);
        let head = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len());
        let bytes = [head.as_bytes(), body.as_bytes()].concat();
        // Whoever asked may be gone.
        if socket.write_all(&bytes[..bytes.len() - cut]).is_err() || cut > 0 {
            return;
        }
    }
}

fn answer(request: &str, state: &mut State) -> (String, String, usize, Duration) {
    let path = request.split(' ').nth(1).unwrap();
    let query = path.strip_prefix("/export?count=1000&after=").expect(path);
    state.asked.push((query.to_owned(), Instant::now()));
    let after: jiff::Timestamp = query.parse().unwrap();
    let after = u64::try_from(after.as_millisecond()).unwrap();
    let later = state.operations.iter().filter(|(time, _)| *time > after);
    let lines: Vec<&str> = later.take(state.page_lines).map(|(_, line)| line.as_str()).collect();
    let page = lines.join("\n");
    match state.faults.pop_front() {
        None => ("200 OK".into(), page, 0, state.delay),
        Some(Fault::Status(head)) => (head, String::new(), 0, state.delay),
        Some(Fault::Body(body)) => ("200 OK".into(), body, 0, state.delay),
        Some(Fault::Cut(bytes)) => ("200 OK".into(), page, bytes, state.delay),
        Some(Fault::Silence(time)) => ("200 OK".into(), page, 0, time),
    }
}
