//! A file system for SQLite that shows a [`Disk`] everything that is written, and otherwise passes on to the operating
//! system's. It becomes SQLite's default in this process, so that the store under test is opened as in production and
//! knows nothing of it. Files of folders that nobody watches are passed on whole.
//!
//! Two crates offer such a shim as safe code; one has not been kept for years, the other needs libclang to build and has
//! no pass-through for shared memory, without which there is no write-ahead log. So here is the least of it.

#![allow(unsafe_code, reason = "SQLite's file systems are tables of C calls; only this test program has one")]

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use rusqlite::ffi::{
    SQLITE_CANTOPEN, SQLITE_IOERR, SQLITE_OPEN_CREATE, SQLITE_OPEN_MAIN_JOURNAL, SQLITE_OPEN_SUPER_JOURNAL,
    SQLITE_OPEN_WAL, sqlite3_file, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs, sqlite3_vfs_find,
    sqlite3_vfs_register,
};

use crate::disk::{Disk, FileNumber};

static WATCHED: Mutex<Vec<Arc<Disk>>> = Mutex::new(Vec::new());

/// The operating system's file system, as SQLite knows it.
struct Base(*mut sqlite3_vfs);

// SAFETY: SQLite registers its file systems once, never moves or changes them, and uses them from any thread.
unsafe impl Send for Base {}
// SAFETY: as above.
unsafe impl Sync for Base {}

static BASE: OnceLock<Base> = OnceLock::new();

/// From now on this disk sees what is written to its folder.
pub(crate) fn watch(disk: &Arc<Disk>) {
    register();
    portolan_proof::on_rewrite(rewritten);
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner).push(disk.clone());
}

/// From now on it does not. Whatever is open of it must have been closed.
pub(crate) fn leave(disk: &Arc<Disk>) {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| !Arc::ptr_eq(other, disk));
}

/// The store has written a file again itself, and flushed it.
fn rewritten(path: &Path) -> std::io::Result<()> {
    let all = WATCHED.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match all.iter().find_map(|disk| Some((disk, disk.file(path)?))) {
        Some((disk, number)) => disk.rewritten(number, &std::fs::read(path)?),
        None => Ok(()),
    }
}

fn register() {
    BASE.get_or_init(|| {
        // SAFETY: null asks for the default; SQLite has one on every system that we build for, and it lives for ever.
        let base = unsafe { sqlite3_vfs_find(std::ptr::null()) };
        // SAFETY: not null, see above; a table of numbers and pointers may be copied.
        let mut shim = unsafe { *base };
        shim.szOsFile += size_of::<ShimFile>() as c_int;
        shim.pNext = std::ptr::null_mut();
        shim.zName = c"portolan-power".as_ptr();
        shim.xOpen = Some(x_open);
        shim.xDelete = Some(x_delete);
        // SAFETY: the table lives for ever, and its other entries do with our pointer what they do with their own: they
        // read `pAppData` and `mxPathname`, which were copied.
        unsafe { sqlite3_vfs_register(Box::leak(Box::new(shim)), 1) };
        Base(base)
    });
}

fn base() -> *mut sqlite3_vfs {
    BASE.get().map_or(std::ptr::null_mut(), |base| base.0)
}

/// An open file: what SQLite expects first, our handle, and behind it the file of the operating system's file system.
#[repr(C)]
struct ShimFile {
    methods: *const sqlite3_io_methods,
    handle: *mut Handle,
}

struct Handle {
    disk: Arc<Disk>,
    file: FileNumber,
    /// As SQLite's own file system has it: the first sync of a journal that may have been made makes its name durable.
    folder_sync_due: bool,
    /// How many failed syncs of the file it has been told of.
    told: usize,
}

/// The file behind ours.
///
/// # Safety
/// `file` is one that [`x_open`] opened for a disk.
unsafe fn real(file: *mut sqlite3_file) -> *mut sqlite3_file {
    // SAFETY: SQLite allocated `szOsFile` bytes, of which ours are the first.
    unsafe { file.cast::<u8>().add(size_of::<ShimFile>()).cast() }
}

/// # Safety
/// As for [`real`]; nobody else may use the handle meanwhile, which SQLite sees to: one thread at a time uses a file.
unsafe fn handle<'a>(file: *mut sqlite3_file) -> &'a mut Handle {
    // SAFETY: `x_open` put a box there, and only `x_close` takes it away.
    unsafe { &mut *(*file.cast::<ShimFile>()).handle }
}

/// Calls a method of the file behind ours.
macro_rules! behind {
    ($file:expr, $method:ident $(, $argument:expr)*) => {{
        let real = real($file);
        match (*(*real).pMethods).$method {
            Some(method) => method(real $(, $argument)*),
            None => SQLITE_IOERR,
        }
    }};
}

macro_rules! pass_on {
    ($($name:ident = $method:ident($($argument:ident: $type:ty),*);)*) => {$(
        unsafe extern "C" fn $name(file: *mut sqlite3_file $(, $argument: $type)*) -> c_int {
            // SAFETY: SQLite calls this with a file that `x_open` opened, and with what the method behind expects.
            unsafe { behind!(file, $method $(, $argument)*) }
        }
    )*};
}

pass_on! {
    x_read = xRead(buffer: *mut c_void, amount: c_int, offset: sqlite3_int64);
    x_file_size = xFileSize(size: *mut sqlite3_int64);
    x_lock = xLock(level: c_int);
    x_unlock = xUnlock(level: c_int);
    x_check_reserved_lock = xCheckReservedLock(out: *mut c_int);
    x_file_control = xFileControl(operation: c_int, argument: *mut c_void);
    x_sector_size = xSectorSize();
    x_device_characteristics = xDeviceCharacteristics();
    x_shm_map = xShmMap(page: c_int, page_size: c_int, extend: c_int, out: *mut *mut c_void);
    x_shm_lock = xShmLock(offset: c_int, count: c_int, flags: c_int);
    x_shm_unmap = xShmUnmap(delete: c_int);
}

unsafe extern "C" fn x_shm_barrier(file: *mut sqlite3_file) {
    // SAFETY: as for `pass_on`.
    unsafe {
        let real = real(file);
        if let Some(method) = (*(*real).pMethods).xShmBarrier {
            method(real);
        }
    }
}

unsafe extern "C" fn x_close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: SQLite closes a file once, and does not use it afterwards.
    unsafe {
        drop(Box::from_raw((*file.cast::<ShimFile>()).handle));
        behind!(file, xClose)
    }
}

unsafe extern "C" fn x_write(
    file: *mut sqlite3_file,
    buffer: *const c_void,
    amount: c_int,
    offset: sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite hands over `amount` readable bytes; the rest as for `pass_on`.
    unsafe {
        let bytes = std::slice::from_raw_parts(buffer.cast::<u8>(), usize::try_from(amount).unwrap_or(0));
        let Handle { disk, file: number, .. } = handle(file);
        let place = u64::try_from(offset).unwrap_or(0);
        disk.write(*number, place, bytes, |through| {
            let amount = c_int::try_from(through.len()).unwrap_or(amount);
            behind!(file, xWrite, through.as_ptr().cast(), amount, offset)
        })
    }
}

unsafe extern "C" fn x_truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    // SAFETY: as for `pass_on`.
    unsafe {
        let Handle { disk, file: number, .. } = handle(file);
        disk.truncate(*number, u64::try_from(size).unwrap_or(0), || behind!(file, xTruncate, size))
    }
}

unsafe extern "C" fn x_sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: as for `pass_on`.
    unsafe {
        let Handle { disk, file: number, folder_sync_due, told } = handle(file);
        let code = disk.sync(*number, *folder_sync_due, told, || behind!(file, xSync, flags));
        *folder_sync_due = *folder_sync_due && code != 0;
        code
    }
}

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    // Without mapping the file into memory: what is written that way could not be seen.
    iVersion: 2,
    xClose: Some(x_close),
    xRead: Some(x_read),
    xWrite: Some(x_write),
    xTruncate: Some(x_truncate),
    xSync: Some(x_sync),
    xFileSize: Some(x_file_size),
    xLock: Some(x_lock),
    xUnlock: Some(x_unlock),
    xCheckReservedLock: Some(x_check_reserved_lock),
    xFileControl: Some(x_file_control),
    xSectorSize: Some(x_sector_size),
    xDeviceCharacteristics: Some(x_device_characteristics),
    xShmMap: Some(x_shm_map),
    xShmLock: Some(x_shm_lock),
    xShmBarrier: Some(x_shm_barrier),
    xShmUnmap: Some(x_shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// Whose file this is.
///
/// # Safety
/// `name` is null or a text that ends with a zero.
unsafe fn watched(name: *const c_char) -> Option<(Arc<Disk>, FileNumber, PathBuf)> {
    if name.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    let path = Path::new(unsafe { CStr::from_ptr(name) }.to_str().ok()?);
    let all = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    all.iter().find_map(|disk| Some((disk.clone(), disk.file(path)?, path.to_owned())))
}

unsafe extern "C" fn x_open(
    _: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    let base = base();
    // SAFETY: `base` is the file system that SQLite would have asked; it gets what SQLite handed over, and as much room
    // as it asked for, at `file` or behind our part of it.
    unsafe {
        let Some(open) = (*base).xOpen else { return SQLITE_CANTOPEN };
        let Some((disk, number, path)) = watched(name) else {
            return open(base, name, file, flags, flags_out);
        };
        let real = real(file);
        (*file).pMethods = std::ptr::null();
        let code = disk.open(number, || {
            let existed = path.exists();
            let code = open(base, name, real, flags, flags_out);
            (code, !existed && path.exists())
        });
        if (*real).pMethods.is_null() {
            return code;
        }
        let journal = SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL | SQLITE_OPEN_WAL;
        let folder_sync_due = flags & SQLITE_OPEN_CREATE != 0 && flags & journal != 0;
        let told = disk.failed_syncs(number);
        let handle = Box::into_raw(Box::new(Handle { disk, file: number, folder_sync_due, told }));
        file.cast::<ShimFile>().write(ShimFile { methods: &METHODS, handle });
        code
    }
}

unsafe extern "C" fn x_delete(_: *mut sqlite3_vfs, name: *const c_char, sync_folder: c_int) -> c_int {
    let base = base();
    // SAFETY: as for `x_open`.
    unsafe {
        let Some(delete) = (*base).xDelete else { return SQLITE_IOERR };
        match watched(name) {
            Some((disk, number, _)) => {
                disk.delete(number, sync_folder != 0, || delete(base, name, sync_folder))
            }
            None => delete(base, name, sync_folder),
        }
    }
}
