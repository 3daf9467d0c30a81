//! Bit rates, measured on the segments as they are sent.
