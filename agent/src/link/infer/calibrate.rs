//! Calibration (to be written).
#[derive(Debug)]
pub struct Calibration;
