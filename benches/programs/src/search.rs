//! Builds a full-text index of Rust sources in memory, as the search of a code host does, asks it a list
//! of questions and drops it. One unit of scale is one index.

use std::time::Instant;

use tantivy::collector::{Count, TopDocs};
use tantivy::query::QueryParser;
use tantivy::schema::{FAST, Field, INDEXED, STORED, STRING, Schema, TEXT, Value};
use tantivy::{
    Index, IndexReader, IndexWriter, ReloadPolicy, Searcher, TantivyDocument, TantivyError, doc,
};

use crate::Outcome;
use crate::digest;

const LINES_PER_DOCUMENT: usize = 30;
const WRITER_BYTES: usize = 32 << 20;
const HITS: usize = 20;

const QUESTIONS: [&str; 24] = [
    "allocator",
    "unsafe AND pointer",
    "iterator OR iterators",
    "\"the number of\"",
    "parse error -token",
    "impl default for",
    "(vec OR slice) AND capacity",
    "\"if let some\"",
    "hash +map",
    "kind:code",
    "kind:prose thread",
    "kind:prose \"is not\"",
    "self mut ref",
    "pub fn new",
    "line:[0 TO 60]",
    "line:[600 TO *] AND match",
    "memory order atomic",
    "lock OR mutex OR condvar",
    "\"returns the\" -none",
    "string utf8 bytes",
    "u8 u16 u32 u64 usize",
    "panic^3 overflow",
    "license copyright",
    "nowhere_in_any_source",
];

struct Fields {
    kind: Field,
    line: Field,
    body: Field,
}

pub fn run(texts: &[String], passes: u32) -> Result<Outcome, String> {
    let start = Instant::now();
    let mut checksum = 0_u64;
    for _ in 0..passes {
        let found = index_and_ask(texts).map_err(|error| format!("the index: {error}"))?;
        checksum = checksum.wrapping_add(found);
    }
    Ok(Outcome { elapsed: start.elapsed(), checksum })
}

fn index_and_ask(texts: &[String]) -> Result<u64, TantivyError> {
    let mut schema = Schema::builder();
    let fields = Fields {
        kind: schema.add_text_field("kind", STRING),
        line: schema.add_u64_field("line", INDEXED | FAST | STORED),
        body: schema.add_text_field("body", TEXT | STORED),
    };
    let index = Index::create_in_ram(schema.build());
    // One thread, as more would cut the index into other segments in each run.
    let mut writer: IndexWriter = index.writer_with_num_threads(1, WRITER_BYTES)?;
    for text in texts {
        add_documents(&writer, &fields, text)?;
    }
    writer.commit()?;
    // There is one commit: no thread has to watch for more.
    let reader: IndexReader =
        index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
    let searcher = reader.searcher();
    let parser = QueryParser::for_index(&index, vec![fields.body]);
    let mut checksum = 0_u64;
    for question in QUESTIONS {
        let query = parser.parse_query(question)?;
        let collectors = (Count, TopDocs::with_limit(HITS).order_by_score());
        let (count, hits) = searcher.search(&query, &collectors)?;
        checksum = checksum.wrapping_add(count as u64);
        for (_, address) in hits {
            checksum = checksum.wrapping_add(digest_of_hit(&searcher, &fields, address)?);
        }
    }
    drop((searcher, reader));
    writer.wait_merging_threads()?;
    Ok(checksum)
}

fn add_documents(writer: &IndexWriter, fields: &Fields, text: &str) -> Result<(), TantivyError> {
    let lines: Vec<&str> = text.lines().collect();
    for (number, lines) in (0_u64..).zip(lines.chunks(LINES_PER_DOCUMENT)) {
        let comments = lines.iter().filter(|line| line.trim_start().starts_with("//")).count();
        let kind = if comments * 2 > lines.len() { "prose" } else { "code" };
        writer.add_document(doc!(
            fields.kind => kind,
            fields.line => number * LINES_PER_DOCUMENT as u64,
            fields.body => lines.join("\n"),
        ))?;
    }
    Ok(())
}

fn digest_of_hit(
    searcher: &Searcher,
    fields: &Fields,
    address: tantivy::DocAddress,
) -> Result<u64, TantivyError> {
    let document: TantivyDocument = searcher.doc(address)?;
    let body = document.get_first(fields.body).and_then(|value| value.as_str());
    let line = document.get_first(fields.line).and_then(|value| value.as_u64());
    Ok(digest::of(&(body, line)))
}
