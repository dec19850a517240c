//! One partition of time: an `SQLite` file with blocks of spans. `SQLite` gives what must never go wrong: a commit is whole or
//! not there, whatever ends the process and whenever, and readers see one state while the writer goes on.

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, params};

use super::{
    block::{Encoded, Summary},
    bytes::{Damaged, unseal},
};

/// `PRAGMA application_id` of our files: "nspn".
const APPLICATION: i32 = 0x6e73_706e;
/// `PRAGMA user_version`: version of the layout.
const VERSION: i32 = 1;
/// Parts of one block have ids of this many bits, below the block's.
const PART_BITS: u32 = 12;
/// Bytes of a page: parts are some kilobytes.
const PAGE_BYTES: u32 = 16 << 10;
/// Pages in the journal before they are put into their places.
const CHECKPOINT_PAGES: u32 = 256;
/// KiB of pages that a connection keeps.
const CACHE_KIB: u32 = 512;
/// How long a reader waits for the writer, or the other way round.
const BUSY: Duration = Duration::from_millis(500);

/// Why a partition can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    /// Its bytes are not what was written.
    #[error("{0}")]
    Damaged(#[from] Damaged),
    /// It was written by another version of netspan.
    #[error("its layout is version {0}, this is netspan for version {VERSION}")]
    Version(i32),
    /// `SQLite` can't.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
}

impl PartitionError {
    /// Whether the file itself is beyond use, rather than the disk or the moment.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged(_) | Self::Version(_) => true,
            Self::Sqlite(error) => {
                matches!(
                    error.sqlite_error_code(),
                    Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::SchemaChanged)
                ) || matches!(
                    error,
                    rusqlite::Error::FromSqlConversionFailure(..)
                        | rusqlite::Error::InvalidColumnType(..)
                        | rusqlite::Error::IntegralValueOutOfRange(..)
                )
            }
        }
    }

    /// Whether the disk is full.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Sqlite(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull))
    }
}

/// An open partition.
#[derive(Debug)]
pub struct Partition {
    connection: Connection,
}

/// A block's place in a partition, and what the index says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its id, in the order of writing.
    pub id: i64,
    /// What it holds.
    pub summary: Summary,
}

impl Partition {
    /// Opens or makes a partition to write to.
    pub fn create(path: &Path) -> Result<Self, PartitionError> {
        // For its owner alone; SQLite gives its journal the same rights, and tells what is wrong with the file.
        let _ = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        let connection = Connection::open(path)?;
        let partition = Self { connection };
        partition.prepare()?;
        let version: i32 = partition.pragma("user_version")?;
        let tables: i64 = partition.connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        match version {
            0 if tables == 0 => partition.connection.execute_batch(&format!(
                "PRAGMA page_size = {PAGE_BYTES};
                 PRAGMA journal_mode = WAL;
                 BEGIN;
                 CREATE TABLE block (id INTEGER PRIMARY KEY, rows INTEGER NOT NULL, start_min INTEGER NOT NULL,
                     start_max INTEGER NOT NULL, duration_max INTEGER NOT NULL);
                 CREATE TABLE part (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
                 PRAGMA application_id = {APPLICATION};
                 PRAGMA user_version = {VERSION};
                 COMMIT;"
            ))?,
            VERSION => partition.connection.execute_batch("PRAGMA journal_mode = WAL")?,
            other => return Err(PartitionError::Version(other)),
        }
        partition.blocks()?;
        Ok(partition)
    }

    /// Opens a partition to read.
    pub fn open(path: &Path) -> Result<Self, PartitionError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let partition = Self { connection: Connection::open_with_flags(path, flags)? };
        partition.prepare()?;
        // One state for the whole query, whatever the writer does meanwhile.
        partition.connection.execute_batch("BEGIN")?;
        match partition.pragma("user_version")? {
            VERSION => Ok(partition),
            other => Err(PartitionError::Version(other)),
        }
    }

    fn prepare(&self) -> Result<(), PartitionError> {
        self.connection.busy_timeout(BUSY)?;
        // NORMAL: what a commit wrote survives the process at once, and the machine from the next checkpoint on.
        self.connection.execute_batch(&format!(
            "PRAGMA synchronous = NORMAL;
             PRAGMA cache_size = -{CACHE_KIB};
             PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};
             PRAGMA journal_size_limit = {};
             PRAGMA temp_store = MEMORY;",
            CHECKPOINT_PAGES * PAGE_BYTES
        ))?;
        Ok(())
    }

    fn pragma(&self, name: &str) -> Result<i32, PartitionError> {
        Ok(self.connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))?)
    }

    /// Adds a block and takes others away, all or nothing. Returns its id.
    pub fn replace(&mut self, added: &Encoded, removed: &[i64]) -> Result<i64, PartitionError> {
        let transaction = self.connection.transaction()?;
        let Summary { rows, start_min, start_max, duration_max } = added.summary;
        let id = {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO block (id, rows, start_min, start_max, duration_max)
                 VALUES ((SELECT coalesce(max(id), 0) + 1 FROM block), ?, ?, ?, ?)",
            )?;
            let id = insert.insert(params![
                rows.cast_signed(),
                start_min.cast_signed(),
                start_max.cast_signed(),
                duration_max.cast_signed()
            ])?;
            let mut insert = transaction.prepare_cached("INSERT INTO part (id, data) VALUES (?, ?)")?;
            for (part, data) in &added.parts {
                insert.execute(params![part_id(id, *part), data])?;
            }
            let mut remove_block = transaction.prepare_cached("DELETE FROM block WHERE id = ?")?;
            let mut remove_parts = transaction.prepare_cached("DELETE FROM part WHERE id >= ? AND id < ?")?;
            for id in removed {
                remove_block.execute([id])?;
                remove_parts.execute([part_id(*id, 0), part_id(id + 1, 0)])?;
            }
            id
        };
        transaction.commit()?;
        Ok(id)
    }

    /// All blocks.
    pub fn blocks(&self) -> Result<Vec<Block>, PartitionError> {
        let mut select =
            self.connection.prepare_cached("SELECT id, rows, start_min, start_max, duration_max FROM block")?;
        let blocks = select.query_map([], |row| {
            let number = |at: usize| row.get::<_, i64>(at).map(i64::cast_unsigned);
            let summary =
                Summary { rows: number(1)?, start_min: number(2)?, start_max: number(3)?, duration_max: number(4)? };
            Ok(Block { id: row.get(0)?, summary })
        })?;
        Ok(blocks.collect::<Result<_, _>>()?)
    }

    /// A part of a block, nothing if there is none.
    pub fn part(&self, block: i64, part: u16) -> Result<Option<Vec<u8>>, PartitionError> {
        let mut select = self.connection.prepare_cached("SELECT data FROM part WHERE id = ?")?;
        let found =
            select.query_row([part_id(block, part)], |row| Ok(row.get_ref(0)?.as_blob().map(unseal))).optional()?;
        match found {
            None => Ok(None),
            Some(Ok(raw)) => Ok(Some(raw?)),
            Some(Err(_)) => Err(Damaged.into()),
        }
    }

    /// Puts everything into the one file: nothing more will be written.
    pub fn close(self) {
        // A reader that is still there keeps the journal: it is then put away by who opens the file next.
        let closed = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE;");
        if let Err(error) = closed {
            log::debug!("store: a partition keeps its journal: {error}");
        }
    }
}

const fn part_id(block: i64, part: u16) -> i64 {
    (block << PART_BITS) | part as i64
}

/// The files that belong to a partition.
fn files(path: &Path) -> [PathBuf; 4] {
    ["", "-wal", "-shm", "-journal"].map(|end| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        name.into()
    })
}

/// Bytes that a partition takes on the disk.
pub fn bytes(path: &Path) -> u64 {
    files(path).iter().filter_map(|file| fs::metadata(file).ok()).map(|file| file.len()).sum()
}

/// Removes a partition.
pub fn remove(path: &Path) -> io::Result<()> {
    let [main, others @ ..] = files(path);
    fs::remove_file(main)?;
    for other in others {
        // Most are not there.
        let _ = fs::remove_file(other);
    }
    Ok(())
}

/// Gives a partition another name.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    for (from, to) in files(from).iter().zip(files(to)) {
        match fs::rename(from, to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
