//! All maps, and the constants that the agent sets before loading.

use aya_ebpf::{
    macros::map,
    maps::{Array, CgroupArray, HashMap, LruHashMap, PerCpuArray, ProgramArray, RingBuf},
};
use netspan_ebpf::{
    CGROUP_RULES_MAX, COMM_LEN, FdKey, FilterConfig, Layout, SCRATCH_CELLS, THREAD_SLOTS_MAX, ThreadSlot, counter,
};

use crate::{
    conn::Conn,
    context::{AtWork, OpenRequest, Peer},
    scratch::Scratch,
    socket::SocketCall,
    syscall::Thread,
    task::Made,
    tls::{Half, HalfName, Line, RustlsCall, SocketName, TlsCall},
};

/// Size of each ring before the agent sets it.
const RING_BYTES: u32 = 1 << 20;

#[map]
pub static RING_0: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);
#[map]
pub static RING_1: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);
#[map]
pub static RING_2: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);
#[map]
pub static RING_3: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);

/// Rows of [`counter`]: one for all, and one for each cell of [`SCRATCH`].
#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(counter::COUNT * counter::ROWS, 0);

/// What programs work on.
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(SCRATCH_CELLS, 0);

/// Connections by key. Least recently used entries give way: one that is needed again is made anew as `FOUND`, and
/// counted (`CONN_FULL`).
#[map]
pub static CONNS: LruHashMap<u64, Conn> = LruHashMap::with_max_entries(32_768, 0);

/// Descriptors of connections.
#[map]
pub static FDS: LruHashMap<FdKey, FdEntry> = LruHashMap::with_max_entries(65_536, 0);

/// Sockets (their kernel addresses as mere numbers) to keys of [`CONNS`]. In the family `socket`, where these are the
/// same, those that have been entered there: larger than that map, it remembers what gave way.
#[map]
pub static SOCKS: LruHashMap<u64, u64> = LruHashMap::with_max_entries(32_768, 0);

/// Unfinished gRPC messages of streams whose connection went on with another stream: bytes that are left of each.
#[map]
pub static MESSAGES: LruHashMap<MessageKey, u32> = LruHashMap::with_max_entries(8_192, 0);

/// Sessions of TLS by the library's pointer, to keys of [`CONNS`].
#[map]
pub static SESSIONS: LruHashMap<SessionKey, u64> = LruHashMap::with_max_entries(16_384, 0);
/// Calls of TLS libraries that threads (by `pid_tgid`) or goroutines are in.
#[map]
pub static TLS_CALLS: LruHashMap<u64, TlsCall> = LruHashMap::with_max_entries(16_384, 0);
/// What was encrypted for sessions whose socket is not known yet.
#[map]
pub static CIPHERTEXTS: LruHashMap<CiphertextKey, u64> = LruHashMap::with_max_entries(8_192, 0);

/// Halves of rustls' sessions by their address.
#[map]
pub static HALVES: LruHashMap<SessionKey, Half> = LruHashMap::with_max_entries(32_768, 0);
/// Lines of rustls that send.
#[map]
pub static LINES: LruHashMap<HalfName, Line> = LruHashMap::with_max_entries(16_384, 0);
/// What the next half will be that a thread makes.
#[map]
pub static NEXT_HALVES: LruHashMap<NextKey, Half> = LruHashMap::with_max_entries(4_096, 0);
/// Calls of rustls that threads (by `pid_tgid`) are in.
#[map]
pub static RUSTLS_CALLS: LruHashMap<u64, RustlsCall> = LruHashMap::with_max_entries(8_192, 0);
/// Records that lines encrypted while their socket was not known.
#[map]
pub static ENCRYPTED: LruHashMap<CiphertextKey, HalfName> = LruHashMap::with_max_entries(8_192, 0);
/// Records that came from sockets of which it is not known who decrypts them.
#[map]
pub static RECEIVED: LruHashMap<CiphertextKey, SocketName> = LruHashMap::with_max_entries(8_192, 0);
/// Processes that have used rustls.
#[map]
pub static RUSTLS_PROCESSES: LruHashMap<u32, u32> = LruHashMap::with_max_entries(4_096, 0);
/// Where Python programs keep which tasks of asyncio are running: an address for each process, or one of
/// [`netspan_ebpf::loops`]. The agent fills it.
#[map]
pub static PYTHONS: LruHashMap<u32, u64> = LruHashMap::with_max_entries(4_096, 0);
/// Which loop of asyncio a thread (by `pid_tgid`) runs: its address, or one of [`netspan_ebpf::loops`].
#[map]
pub static LOOPS: LruHashMap<u64, u64> = LruHashMap::with_max_entries(4_096, 0);
/// When the agent was last asked about a thread's loop.
#[map]
pub static ASKED: LruHashMap<u64, u64> = LruHashMap::with_max_entries(1_024, 0);
/// Tasks of asyncio.
#[map]
pub static TASKS: LruHashMap<TaskKey, Made> = LruHashMap::with_max_entries(16_384, 0);
/// Programs that uprobes may go on with: none, ever. See `tls::keep_stack`.
#[map]
pub static NO_PROGRAMS: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Goroutines by process and number: which other made them, and where they begin. Of programs whose runtime does not note it.
#[map]
pub static GOROUTINES: LruHashMap<[u64; 2], [u64; 2]> = LruHashMap::with_max_entries(16_384, 0);

/// When sockets that nobody accepted yet were established.
#[map]
pub static ESTABLISHED: LruHashMap<u64, u64> = LruHashMap::with_max_entries(8_192, 0);

/// Which of [`netspan_ebpf::syscall`] a number is.
#[map]
pub static SYSCALLS: Array<u8> = Array::with_max_entries(netspan_ebpf::syscall::NUMBERS, 0);

/// Sockets whose peers may know the TCP option.
#[map]
pub static PEERS: LruHashMap<u64, Peer> = LruHashMap::with_max_entries(16_384, 0);
/// Requests that wait for their answers, by the id of their connection. Filled only where the option is on.
#[map]
pub static OPEN_REQUESTS: LruHashMap<u64, OpenRequest> = LruHashMap::with_max_entries(16_384, 0);
/// What threads (by `pid_tgid`) and processes (the same without the thread) are at. Likewise.
#[map]
pub static AT_WORK: LruHashMap<u64, AtWork> = LruHashMap::with_max_entries(16_384, 0);

/// Where the threads of processes publish their context, by process. The agent fills it.
#[map]
pub static THREAD_SLOTS: HashMap<u32, ThreadSlot> = HashMap::with_max_entries(THREAD_SLOTS_MAX, 0);

/// Threads whose calls are seen, by `pid_tgid`, each with the call that it is in.
#[map]
pub static THREADS: HashMap<u64, Thread> = HashMap::with_max_entries(32_768, 0);

/// Calls that threads are in, by `pid_tgid`, for the hooks of the family `socket` that are kprobes.
#[map]
pub static SOCKET_CALLS: HashMap<u64, SocketCall> = HashMap::with_max_entries(16_384, 0);

/// Processes and what was decided of them.
#[map]
pub static PROCESSES: LruHashMap<u32, Process> = LruHashMap::with_max_entries(16_384, 0);

/// One entry: the filters' head.
#[map]
pub static FILTER: Array<FilterConfig> = Array::with_max_entries(1, 0);
/// Rules by process id; descendants are added as they are forked.
#[map]
pub static FILTER_PIDS: HashMap<u32, u8> = HashMap::with_max_entries(16_384, 0);
/// Rules by command name.
#[map]
pub static FILTER_COMMS: HashMap<[u8; COMM_LEN], u8> = HashMap::with_max_entries(256, 0);
/// Cgroups that have rules.
#[map]
pub static FILTER_CGROUPS: CgroupArray = CgroupArray::with_max_entries(CGROUP_RULES_MAX, 0);
/// Their rules.
#[map]
pub static FILTER_CGROUP_RULES: Array<u8> = Array::with_max_entries(CGROUP_RULES_MAX, 0);
/// Rules by port.
#[map]
pub static FILTER_PORTS: HashMap<u16, u8> = HashMap::with_max_entries(1_024, 0);

/// Key of [`MESSAGES`].
#[repr(C)]
#[derive(Clone, Copy)]
pub struct MessageKey {
    /// Key of the connection.
    pub conn: u64,
    /// Stream.
    pub stream: u32,
    /// One of [`netspan_ebpf::direction`].
    pub direction: u32,
}

/// Key of [`SESSIONS`].
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SessionKey([u64; 2]);

impl SessionKey {
    /// A process, and its library's pointer.
    #[inline(always)]
    pub fn new(tgid: u32, pointer: u64) -> Self {
        Self([u64::from(tgid), pointer])
    }
}

/// Key of [`CIPHERTEXTS`], [`ENCRYPTED`] and [`RECEIVED`].
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CiphertextKey([u64; 2]);

impl CiphertextKey {
    /// A process, and the number that stands for the bytes.
    #[inline(always)]
    pub fn new(tgid: u32, print: u64) -> Self {
        Self([u64::from(tgid), print])
    }
}

/// Key of [`NEXT_HALVES`].
#[repr(C)]
#[derive(Clone, Copy)]
pub struct NextKey([u64; 2]);

impl NextKey {
    /// A thread (`pid_tgid`), and one of [`netspan_ebpf::direction`].
    #[inline(always)]
    pub fn new(pid_tgid: u64, direction: u8) -> Self {
        Self([pid_tgid, u64::from(direction)])
    }
}

/// Key of [`TASKS`].
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TaskKey([u64; 2]);

impl TaskKey {
    /// A process, and the task's address.
    #[inline(always)]
    pub fn new(tgid: u32, address: u64) -> Self {
        Self([u64::from(tgid), address])
    }
}

/// What a descriptor stands for.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FdEntry {
    /// Key in [`CONNS`], or one of [`fd`].
    pub key: u64,
    /// Its socket, or 0 while that is not known. For [`fd::UNKNOWN`] the number of calls so far.
    pub sock: u64,
}

/// Values of [`FdEntry::key`] that are no keys; keys are larger.
pub mod fd {
    /// No stream socket: its calls are left alone until it is closed.
    pub const IGNORED: u64 = 0;
    /// An entry that was inherited and closed here: what the descriptor stands for now is not known.
    pub const GONE: u64 = 1;
    /// Nothing is known, and no call so far was the beginning of a message of ours.
    pub const UNKNOWN: u64 = 2;
    /// The largest value that is no key.
    pub const LAST: u64 = UNKNOWN;
}

/// What is known of a process.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Process {
    /// When it began its program: descriptors of an earlier process with its id are not its own.
    pub since_ns: u64,
    /// Who forked it, or 0.
    pub parent: u32,
    /// Whose descriptors it still has because it was forked, or 0. A process that never had a connection leaves none.
    pub heir_of: u32,
    /// One of [`netspan_ebpf::verdict`].
    pub verdict: u32,
    /// [`FilterConfig::generation`] that the verdict is of.
    pub generation: u32,
    /// Non-zero: it has forked, so that its descriptors may live on in a child.
    pub forked: u32,
    /// Non-zero: it has had a connection.
    pub tied: u32,
}

/// Constants that the agent sets before loading: the verifier knows their values and drops what they exclude.
#[unsafe(no_mangle)]
pub static RINGS_MASK: u32 = 3;
/// 1 where the event `tcp:tcp_rcv_space_adjust` has the field `family` (kernels from 5.16).
#[unsafe(no_mangle)]
pub static SPACE_ADJUST_HAS_FAMILY: u32 = 1;
/// Offsets of the six argument registers in `struct pt_regs`.
#[unsafe(no_mangle)]
pub static REGISTERS: [u32; 6] = [112, 104, 96, 56, 72, 64];
/// Offset in `struct pt_regs` of what tells a 64-bit caller, or 0 where nothing does; and its value.
#[unsafe(no_mangle)]
pub static USER_CS_OFFSET: u32 = 136;
/// See [`USER_CS_OFFSET`].
#[unsafe(no_mangle)]
pub static USER_CS: u16 = 0x33;
/// 1 where programs on trampolines are attached twice, because the kernel may skip one.
#[unsafe(no_mangle)]
pub static TWICE: u32 = 0;
/// 1 for the family `socket`: its programs may read kernel memory.
#[unsafe(no_mangle)]
pub static KERNEL_READS: u32 = 0;
/// Where in `struct task_struct` a thread's pointer to its thread-local storage is, or 0 where it is not to be read.
#[unsafe(no_mangle)]
pub static THREAD_POINTER: u32 = 0;
/// Where they find what they read.
#[unsafe(no_mangle)]
// SAFETY: integers only.
pub static LAYOUT: Layout = unsafe { core::mem::zeroed() };
/// Bytes in a ring from which on a wake-up is sent.
#[unsafe(no_mangle)]
pub static WAKE_BYTES: u64 = 65_536;

/// 1 where other hosts are told of requests by a TCP option.
#[unsafe(no_mangle)]
pub static PROPAGATE: u32 = 0;
/// Seed of the ids that the agent gives.
#[unsafe(no_mangle)]
pub static SEED: [u64; 2] = [0; 2];

/// Never anything but 0.
#[unsafe(no_mangle)]
pub static NEVER: u32 = 0;

/// Reads a constant in such a way that the compiler does not take the value above for granted.
#[inline(always)]
pub fn constant<T: Copy>(value: &'static T) -> T {
    // SAFETY: a reference to a static is valid for reads.
    unsafe { core::ptr::read_volatile(value) }
}
