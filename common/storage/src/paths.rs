//! Paths as names of tables: `select * from 'data/orders.csv'`.
//!
//! A name that looks like a path and is no table of the schema is listed and opened when a
//! statement is planned, every time anew: files that were added are seen. Such a name holds a `.`
//! or a `/`, so in SQL it is always quoted.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::TableType;
use datafusion::execution::SessionState;
use datafusion::prelude::SessionContext;

use crate::format::extension_of;
use crate::listing::is_glob;
use crate::table::open_path;

/// Makes paths stand for tables in every schema of the session's catalogs.
///
/// # Errors
/// The catalog of the session refuses a schema.
pub fn serve_paths(context: &SessionContext) -> Result<()> {
    let weak = context.state_weak_ref();
    let session: Session = Arc::new(move || Some(weak.upgrade()?.read().clone()));
    for name in context.catalog_names() {
        let Some(inner) = context.catalog(&name) else { continue };
        for schema in inner.schema_names() {
            if let Some(tables) = inner.schema(&schema) {
                let session = Arc::clone(&session);
                inner.register_schema(&schema, Arc::new(PathSchema { inner: tables, session }))?;
            }
        }
        let session = Arc::clone(&session);
        context.register_catalog(name, Arc::new(PathCatalog { inner, session }));
    }
    Ok(())
}

/// True if the name of a table is a path: of a known format, of a folder, a pattern, or a file
/// that is there.
pub fn is_path(name: &str) -> bool {
    let path = Path::new(name);
    name.contains('/')
        || is_glob(name)
        || extension_of(path).is_some()
        || (name.contains('.') && path.is_file())
}

/// The session as it is now; none once it is gone.
type Session = Arc<dyn Fn() -> Option<SessionState> + Send + Sync>;

/// A catalog whose new schemas know paths too.
struct PathCatalog {
    inner: Arc<dyn CatalogProvider>,
    session: Session,
}

impl fmt::Debug for PathCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl CatalogProvider for PathCatalog {
    fn schema_names(&self) -> Vec<String> {
        self.inner.schema_names()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        self.inner.schema(name)
    }

    fn register_schema(
        &self,
        name: &str,
        schema: Arc<dyn SchemaProvider>,
    ) -> Result<Option<Arc<dyn SchemaProvider>>> {
        let session = Arc::clone(&self.session);
        self.inner.register_schema(name, Arc::new(PathSchema { inner: schema, session }))
    }

    fn deregister_schema(
        &self,
        name: &str,
        cascade: bool,
    ) -> Result<Option<Arc<dyn SchemaProvider>>> {
        self.inner.deregister_schema(name, cascade)
    }
}

/// A schema that has, beside its own tables, one for every path.
struct PathSchema {
    inner: Arc<dyn SchemaProvider>,
    session: Session,
}

impl fmt::Debug for PathSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl SchemaProvider for PathSchema {
    fn owner_name(&self) -> Option<&str> {
        self.inner.owner_name()
    }

    fn table_names(&self) -> Vec<String> {
        self.inner.table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if let Some(table) = self.inner.table(name).await? {
            return Ok(Some(table));
        }
        if !is_path(name) {
            return Ok(None);
        }
        let Some(state) = (self.session)() else { return Ok(None) };
        // The name may be that of a table to be created: who plans a query tells why there is none.
        Ok(open_path(&state, name).await.ok())
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        self.inner.table_type(name).await
    }

    fn register_table(
        &self,
        name: String,
        table: Arc<dyn TableProvider>,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        self.inner.register_table(name, table)
    }

    fn deregister_table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        self.inner.deregister_table(name)
    }

    fn table_exist(&self, name: &str) -> bool {
        self.inner.table_exist(name)
    }
}
