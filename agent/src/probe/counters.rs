//! Reads the kernel side's counters.

use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray},
};
use netspan_ebpf::counter;

use super::{ProbeError, missed::Programs};

/// Reader of the counters in [`counter`].
pub struct Counters {
    map: PerCpuArray<MapData, u64>,
    programs: Programs,
}

impl Counters {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, ProbeError> {
        let map = ebpf.take_map("COUNTERS").ok_or(ProbeError::Map("COUNTERS", "absent".into()))?;
        let map = PerCpuArray::try_from(map).map_err(|e| ProbeError::Map("COUNTERS", e.to_string()))?;
        Ok(Self { map, programs: Programs::of(ebpf) })
    }

    /// The sum over all CPUs of each counter, by its index.
    pub fn read(&self) -> Result<[u64; counter::COUNT as usize], ProbeError> {
        let mut sums = [0; counter::COUNT as usize];
        for row in 0..counter::ROWS {
            for (index, sum) in (row * counter::COUNT..).zip(&mut sums) {
                let cells = self.map.get(&index, 0).map_err(|e| ProbeError::Map("COUNTERS", e.to_string()))?;
                *sum += cells.iter().sum::<u64>();
            }
        }
        sums[counter::RUN_MISSED as usize] += self.programs.missed();
        Ok(sums)
    }
}
