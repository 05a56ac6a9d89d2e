//! The shell around the scheduler: sessions of drivers and workers, leases, REST
