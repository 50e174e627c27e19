//! A PLC directory of a few lines: both forms of `/export` over plain HTTP and the stream, with
//! the faults that real ones have.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use tungstenite::{
    Message,
    handshake::server::{Request, Response},
    protocol::{CloseFrame, frame::coding::CloseCode},
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

/// What a directory makes of a whole number in `after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Numbers {
    /// A year, as the official server did when it knew no numbers.
    #[default]
    Year,
    /// A mistake.
    Refused,
    /// The number of an operation; there is a stream, too.
    Known,
}

#[derive(Debug)]
pub struct Operation {
    pub created_ms: u64,
    pub seq: u64,
    /// As it is exported by time, and by number.
    pub line: String,
    pub numbered: String,
}

#[derive(Debug, Default)]
pub struct State {
    /// In the order in which they appeared.
    pub operations: Vec<Operation>,
    pub numbers: Numbers,
    /// Answers to come before good ones.
    pub faults: VecDeque<Fault>,
    /// How long a good answer takes.
    pub delay: Duration,
    /// Most operations in an answer.
    pub page_lines: usize,
    /// `after` of each question, and when it came.
    pub asked: Vec<(String, Instant)>,
    /// Cursor of each stream that was joined.
    pub joined: Vec<u64>,
    /// Reasons with which the next streams are closed at once; an empty one is no word at all.
    pub closes: VecDeque<&'static str>,
    /// The stream repeats so many operations before the cursor.
    pub repeats: usize,
    /// Streams are cut whenever this number changes.
    pub cut: u32,
    /// There is no stream.
    pub streamless: bool,
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

    /// One that numbers its operations.
    pub fn numbered(times: impl IntoIterator<Item = u64>, page_lines: usize) -> Self {
        let directory = Self::new(times, page_lines);
        directory.know(Numbers::Known);
        directory
    }

    pub fn know(&self, numbers: Numbers) {
        self.state.lock().unwrap().numbers = numbers;
    }

    /// Adds an operation.
    pub fn add(&self, time: u64) {
        let mut state = self.state.lock().unwrap();
        let number = state.operations.len() as u64;
        let created_ms = 1_767_225_600_000 + time;
        let (secs, ms) = (time / 1000, time % 1000);
        assert!(secs < 86_400);
        let clock = format!("{:02}:{:02}:{:02}.{ms:03}", secs / 3600, secs / 60 % 60, secs % 60);
        let seq = number * 3 + 10;
        // An escape and an odd space, so that a line that was written anew would show.
        let body = format!(
            "\"did\":\"did:plc:{number:024}\", \"operation\":{{\"sig\":\"\\u0041{number}\"}},\
             \"cid\":\"bafy{number}\",\"createdAt\":\"2026-01-01T{clock}Z\"}}"
        );
        let line = format!("{{\"nullified\":false,{body}");
        let numbered = format!("{{\"type\":\"sequenced_op\",\"seq\":{seq},{body}");
        state.operations.push(Operation { created_ms, seq, line, numbered });
    }

    pub fn fault(&self, fault: Fault) {
        self.state.lock().unwrap().faults.push_back(fault);
    }

    /// The lines in the order of time.
    pub fn lines(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        in_time(&state).into_iter().map(|operation| operation.line.clone()).collect()
    }

    /// The lines in the order of numbers.
    pub fn numbered_lines(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.operations.iter().map(|operation| operation.numbered.clone()).collect()
    }

    pub fn requests(&self) -> usize {
        self.state.lock().unwrap().asked.len()
    }
}

fn in_time(state: &State) -> Vec<&Operation> {
    let mut operations: Vec<&Operation> = state.operations.iter().collect();
    operations.sort_by_key(|operation| operation.created_ms);
    operations
}

fn serve(mut socket: TcpStream, state: &Mutex<State>) {
    let mut head = [0; 19];
    if socket.peek(&mut head).is_ok_and(|count| &head[..count] == b"GET /export/stream?") {
        let state_now = state.lock().unwrap();
        let streams = state_now.numbers == Numbers::Known && !state_now.streamless;
        drop(state_now);
        if streams {
            return stream(socket, state);
        }
    }
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
    let Some(query) = path.strip_prefix("/export?count=") else {
        return ("404 Not Found".into(), String::new(), 0, Duration::ZERO);
    };
    let (count, after) = query.split_once("&after=").unwrap();
    state.asked.push((after.to_owned(), Instant::now()));
    let count = state.page_lines.min(count.parse().unwrap());
    let page = match page(after, count, state) {
        Some(lines) => lines.join("\n"),
        None => return ("400 Bad Request".into(), String::new(), 0, Duration::ZERO),
    };
    match state.faults.pop_front() {
        None => ("200 OK".into(), page, 0, state.delay),
        Some(Fault::Status(head)) => (head, String::new(), 0, state.delay),
        Some(Fault::Body(body)) => ("200 OK".into(), body, 0, state.delay),
        Some(Fault::Cut(bytes)) => ("200 OK".into(), page, bytes, state.delay),
        Some(Fault::Silence(time)) => ("200 OK".into(), page, 0, time),
    }
}

fn page(after: &str, count: usize, state: &State) -> Option<Vec<String>> {
    let by_time = |after_ms| {
        let operations = in_time(state).into_iter().filter(|op| op.created_ms > after_ms);
        operations.take(count).map(|operation| operation.line.clone()).collect()
    };
    match (after.parse::<u64>(), state.numbers) {
        (Ok(seq), Numbers::Known) => {
            let later = state.operations.iter().filter(|operation| operation.seq > seq);
            Some(later.take(count).map(|operation| operation.numbered.clone()).collect())
        }
        (Ok(0), Numbers::Year) => Some(by_time(946_684_800_000)),
        // Years from 1000 on are far in the future here.
        (Ok(1000..), Numbers::Year) => Some(Vec::new()),
        (Ok(_), _) => None,
        (Err(_), _) => {
            let after: jiff::Timestamp = after.parse().unwrap();
            Some(by_time(u64::try_from(after.as_millisecond()).unwrap()))
        }
    }
}

fn stream(socket: TcpStream, state: &Mutex<State>) {
    let mut cursor = 0;
    #[allow(clippy::result_large_err, reason = "the type is tungstenite's")]
    let accepted = tungstenite::accept_hdr(socket, |request: &Request, response: Response| {
        cursor = request.uri().query().unwrap().strip_prefix("cursor=").unwrap().parse().unwrap();
        Ok(response)
    });
    let Ok(mut socket) = accepted else { return };
    let (cut, close, mut place) = {
        let mut state = state.lock().unwrap();
        state.joined.push(cursor);
        let place = state.operations.partition_point(|operation| operation.seq <= cursor);
        (state.cut, state.closes.pop_front(), place.saturating_sub(state.repeats))
    };
    if let Some(reason) = close {
        if !reason.is_empty() {
            let frame = CloseFrame { code: CloseCode::Normal, reason: reason.into() };
            let _ = socket.close(Some(frame));
            while socket.read().is_ok() {}
        }
        return;
    }
    loop {
        let (lines, stop) = {
            let state = state.lock().unwrap();
            let new = state.operations.iter().skip(place);
            (new.map(|op| op.numbered.clone()).collect::<Vec<_>>(), state.cut != cut)
        };
        place += lines.len();
        for line in lines {
            if socket.send(Message::Text(line.into())).is_err() {
                return;
            }
        }
        if stop {
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
}
