//! Columns of CSV files, told by the header of each file.

use std::fs;
use std::path::Path;

use libtest_mimic::Failed;

use super::{Test, sql};

pub(super) const TESTS: &[(&str, Test)] = &[
    ("columns_of_csv_are_told_by_names", columns_are_told_by_names),
    ("a_declared_table_gives_columns_other_names", a_declared_table_gives_other_names),
    ("quoted_line_feeds_are_part_of_a_row", quoted_line_feeds_are_part_of_a_row),
    ("a_file_that_is_cut_or_compressed_otherwise_is_named", a_cut_file_is_named),
];

const MASTERS: [&str; 2] = ["local[2]", "local-cluster[2,1,256MiB]"];

fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) -> Result<(), Failed> {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a folder"))?;
    Ok(fs::write(path, text)?)
}

fn expect(query: &str, rows: &str) -> Result<(), Failed> {
    for master in MASTERS {
        let ended = sql(query, &["--format", "csv", "--master", master])?;
        ended.expect(0, rows, &[]).map_err(|error| format!("{query} on {master}: {error}"))?;
    }
    Ok(())
}

fn columns_are_told_by_names() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().display();
    let files = [
        ("t/a.csv", "name,city\nAnn,Oslo\n"),
        ("t/b.csv", "city,name\nBergen,Bo\n"),
        ("t/c.csv", "\u{feff}city,\"age\"\nMoss,7\n"),
        ("t/d.csv", ""),
        ("t/e.csv", "age,name,city\n"),
        ("k/y=1/a.csv", "a,b\n1,2\n"),
        ("k/y=2/a.csv", "b,a\n4,3\n"),
        ("twice.csv", "id,v,v\n1,2,3\n"),
        ("order.csv", "id,v\n1,2\n"),
    ];
    for (name, text) in files {
        write(folder.path(), name, text)?;
    }
    let rows = "name,city,age\nAnn,Oslo,\nBo,Bergen,\n,Moss,7\n";
    let order = "order by name nulls last";
    expect(&format!("select * from '{root}/t/' {order}"), rows)?;
    expect(&format!("select age + 1 as x from '{root}/t/' where city = 'Moss'"), "x\n8\n")?;
    expect(&format!("select count(*) as n from '{root}/t/'"), "n\n3\n")?;
    let table = |columns: &str| {
        format!("create external table t {columns} stored as csv location '{root}/t/';")
    };
    expect(&format!("{} select name, city, age from t {order}", table("")), rows)?;
    let declared = table("(age int, city varchar, name varchar)");
    expect(&format!("{declared} select age, name from t {order}"), "age,name\n,Ann\n,Bo\n7,\n")?;
    expect(&format!("select * from '{root}/k/' order by a"), "a,b,y\n1,2,1\n3,4,2\n")?;
    expect(&format!("select * from '{root}/twice.csv'"), "id,v,v_1\n1,2,3\n")?;

    // A file that is cut into pieces: each of them reads the header.
    let lines: String = (0..4000).map(|row| format!("{row},{}\n", row * 2)).collect();
    write(folder.path(), "large.csv", format!("b,a\n{lines}"))?;
    let cut = format!(
        "set datafusion.optimizer.repartition_file_min_size = 0; \
         create external table t (a bigint, b bigint) stored as csv location '{root}/large.csv' \
         options (newlines_in_values 'false'); \
         select count(*) as n, sum(a) as a, sum(b) as b from t"
    );
    expect(&cut, "n,a,b\n4000,15996000,7998000\n")
}

fn a_declared_table_gives_other_names() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    write(folder.path(), "a.csv", "id,cost,note\n1,2,x\n")?;
    let path = folder.path().join("a.csv");
    let table = |columns: &str| {
        let path = path.display();
        format!(
            "create external table t ({columns}) stored as csv location '{path}'; select * from t"
        )
    };
    // As many columns, and not the same: by place.
    expect(&table("k int, price int, text varchar"), "k,price,text\n1,2,x\n")?;
    // Some of them, by name and whatever their case.
    expect(&table("Note varchar, ID int"), "note,id\nx,1\n")?;
    expect(&table("id int, cost int, note varchar, more int"), "id,cost,note,more\n1,2,x,\n")?;
    for master in MASTERS {
        let ended = sql(&table("k int, note varchar"), &["--master", master])?;
        let parts =
            ["its header has the columns `id`, `cost`, `note`, and the table `k`, `note`", "a.csv"];
        ended.expect(1, "", &parts)?;
    }
    Ok(())
}

fn quoted_line_feeds_are_part_of_a_row() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let rows: String = (0..1500)
        .map(|row| format!("{row},\"line {row}\n7,8,nine\nand \"\"so\"\" on\"\n"))
        .collect();
    write(folder.path(), "quoted.csv", format!("id,text\n{rows}"))?;
    // Plain where types are inferred from, and quoted later, in more than 10 MB.
    let plain: String = (0..2000).map(|row| format!("{row},{row},plain\n")).collect();
    let late: String =
        (0..4000).map(|_| format!("5,5,\"{}\n7,8,nine\"\n", "long text ".repeat(300))).collect();
    write(folder.path(), "late.csv", format!("a,b,c\n{plain}{late}"))?;
    let root = folder.path().display();
    expect(
        &format!(
            "select count(*) as n, sum(id) as s, max(length(text)) as l from '{root}/quoted.csv'"
        ),
        "n,s,l\n1500,1124250,30\n",
    )?;
    expect(
        &format!("select count(*) as n, sum(a) as a, sum(b) as b from '{root}/late.csv'"),
        "n,a,b\n6000,2019000,2019000\n",
    )
}

fn a_cut_file_is_named() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let text = format!("a,b\n{}", "1,2\n".repeat(1000));
    write(folder.path(), "plain.csv.gz", text)?;
    let path = folder.path().join("plain.csv.gz");
    let path = path.display();
    for compression in ["gzip", "zstd", "bzip2", "xz"] {
        let query = format!(
            "create external table t (a int, b int) stored as csv location '{path}' \
             options (compression '{compression}'); select * from t"
        );
        for master in MASTERS {
            let ended = sql(&query, &["--master", master])?;
            let parts = ["can't read `", "plain.csv.gz` as CSV: ", "compressed in another way"];
            ended.expect(1, "", &parts).map_err(|error| format!("{compression}: {error}"))?;
        }
    }
    Ok(())
}
