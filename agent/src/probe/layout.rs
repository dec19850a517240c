//! Resolves the [`Layout`] that the `socket` family's programs read kernel memory by.

use netspan_ebpf::{ABSENT, Layout};

use super::btf::{Btf, BtfError};

/// Resolves it. What every kernel since 5.10 has must be there; the rest may be [`ABSENT`].
pub fn resolve(btf: &Btf) -> Result<Layout, BtfError> {
    let kind = must(btf, "iov_iter", "iter_type").or_else(|_| must(btf, "iov_iter", "type"))?;
    let kind_size = if btf.field("iov_iter", "iter_type").is_some() { 1 } else { 4 };
    let receive = parameters(btf, "tcp_recvmsg")?;
    let flags = receive.iter().position(|name| *name == "flags");
    Ok(Layout {
        sock_family: must(btf, "sock", "__sk_common.skc_family")?,
        sock_local_port: must(btf, "sock", "__sk_common.skc_num")?,
        sock_peer_port: must(btf, "sock", "__sk_common.skc_dport")?,
        sock_local: must(btf, "sock", "__sk_common.skc_rcv_saddr")?,
        sock_peer: must(btf, "sock", "__sk_common.skc_daddr")?,
        // Kernels without IPv6 have no such members, and no sockets of that family.
        sock_local6: may(btf, "sock", "__sk_common.skc_v6_rcv_saddr"),
        sock_peer6: may(btf, "sock", "__sk_common.skc_v6_daddr"),
        sock_cookie: may(btf, "sock", "__sk_common.skc_cookie"),
        sock_net: may(btf, "sock", "__sk_common.skc_net.net"),
        net_inum: may(btf, "net", "ns.inum"),
        sock_protocol: must(btf, "sock", "sk_protocol")?,
        sock_err: may(btf, "sock", "sk_err"),
        socket_sk: must(btf, "socket", "sk")?,
        unix_peer: may(btf, "unix_sock", "peer"),
        tcp_srtt: may(btf, "tcp_sock", "srtt_us"),
        tcp_min_rtt: may(btf, "tcp_sock", "rtt_min.s[0].v"),
        tcp_retransmits: may(btf, "tcp_sock", "total_retrans"),
        tcp_unacknowledged: may(btf, "tcp_sock", "snd_una"),
        tcp_acknowledged: may(btf, "tcp_sock", "bytes_acked"),
        tcp_expected: may(btf, "tcp_sock", "rcv_nxt"),
        tcp_received: may(btf, "tcp_sock", "bytes_received"),
        tcp_copied: may(btf, "tcp_sock", "copied_seq"),
        tcp_written: may(btf, "tcp_sock", "write_seq"),
        msg_iter: must(btf, "msghdr", "msg_iter")?,
        iter_kind: kind,
        iter_kind_size: kind_size,
        iter_offset: must(btf, "iov_iter", "iov_offset")?,
        iter_count: must(btf, "iov_iter", "count")?,
        iter_vector: must(btf, "iov_iter", "__iov").or_else(|_| must(btf, "iov_iter", "iov"))?,
        iter_buffer: may(btf, "iov_iter", "ubuf"),
        kind_vector: btf
            .enumerator("iter_type", "ITER_IOVEC")
            .ok_or_else(|| BtfError::Missing("enumerator ITER_IOVEC".into()))?,
        kind_buffer: btf.enumerator("iter_type", "ITER_UBUF").unwrap_or(ABSENT),
        recv_flags: flags.ok_or_else(|| BtfError::Missing("parameter flags of tcp_recvmsg".into()))? as u32,
        recv_arguments: receive.len() as u32,
        accept_arguments: parameters(btf, "inet_csk_accept")?.len() as u32,
        unix_accept_arguments: btf.parameters("unix_accept").map_or(ABSENT, |names| names.len() as u32),
        task_flags: may(btf, "task_struct", "flags"),
        msg_control: may(btf, "msghdr", "msg_control"),
        msg_controllen: may(btf, "msghdr", "msg_controllen"),
        task_files: may(btf, "task_struct", "files"),
        files_table: may(btf, "files_struct", "fdt"),
        table_size: may(btf, "fdtable", "max_fds"),
        table_files: may(btf, "fdtable", "fd"),
        file_private: may(btf, "file", "private_data"),
        socket_file: may(btf, "socket", "file"),
        _pad: 0,
    })
}

fn must(btf: &Btf, structure: &str, path: &str) -> Result<u32, BtfError> {
    let offset = btf.field(structure, path).and_then(|field| field.offset());
    offset.ok_or_else(|| BtfError::Missing(format!("{structure}.{path}")))
}

fn may(btf: &Btf, structure: &str, path: &str) -> u32 {
    must(btf, structure, path).unwrap_or(ABSENT)
}

fn parameters<'a>(btf: &'a Btf, function: &str) -> Result<Vec<&'a str>, BtfError> {
    btf.parameters(function).ok_or_else(|| BtfError::Missing(format!("function {function}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernel_has_everything_that_is_asked_for() {
        let Ok(btf) = Btf::of_kernel() else { return };
        let layout = resolve(&btf).expect("a layout");
        assert_eq!((layout.sock_peer, layout.sock_local), (0, 4));
        assert_eq!(layout.sock_local_port, layout.sock_peer_port + 2, "skc_portpair");
        assert!((4..=6).contains(&layout.recv_arguments) && layout.recv_flags < layout.recv_arguments);
        assert_ne!(layout.kind_buffer, layout.kind_vector);
        for offset in [layout.sock_cookie, layout.unix_peer, layout.tcp_srtt, layout.net_inum, layout.task_flags] {
            assert_ne!(offset, ABSENT);
        }
        // What TCP counts by.
        for offset in [layout.tcp_unacknowledged, layout.tcp_acknowledged, layout.tcp_expected, layout.tcp_received] {
            assert_ne!(offset, ABSENT);
        }
        assert!(layout.tcp_copied != ABSENT && layout.tcp_written != ABSENT);
        // What leads from a descriptor to its socket.
        for offset in [layout.task_files, layout.files_table, layout.table_size, layout.table_files] {
            assert_ne!(offset, ABSENT);
        }
        assert_ne!(layout.file_private, ABSENT);
        assert!(layout.socket_file < layout.socket_sk, "struct socket: file, sk");
    }

    #[test]
    fn a_kernel_without_sockets_is_refused_by_the_name_of_what_is_missing() {
        let mut empty = vec![0x9f, 0xeb, 1, 0];
        for word in [24u32, 0, 0, 0, 1] {
            empty.extend(word.to_ne_bytes());
        }
        empty.push(0);
        let error = resolve(&Btf::parse(empty).expect("BTF")).expect_err("an error").to_string();
        assert!(error.ends_with("has no iov_iter.type"), "{error}");
    }
}
