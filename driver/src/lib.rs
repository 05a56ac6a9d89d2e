//! Session, planner from a DataFusion plan to the stage graph, job control
