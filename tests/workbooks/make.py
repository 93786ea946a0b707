"""Makes the workbooks of the tests, with programs of others: `pip install openpyxl xlwt odfpy`.

All numbers are invented. `table.*` are one table of three regions; `kinds.xlsx` has each kind of
cell, below an empty row and beside an empty column, on a sheet that is not the first.
"""

import datetime
import pathlib

import openpyxl
import xlwt
from odf.opendocument import OpenDocumentSpreadsheet
from odf.table import Table, TableCell, TableRow
from odf.text import P

HERE = pathlib.Path(__file__).parent
REGIONS = ["Акмолинская область", "Алматы", "Шымкент"]
ROWS = [["region", "year", "marriages"]] + [
    [region, year, 1000 * (i + 1) + 13 * (year - 2000) + (7 * year + 5 * i) % 23]
    for i, region in enumerate(REGIONS)
    for year in range(2000, 2016)
]


def xlsx():
    book = openpyxl.Workbook()
    book.active.title = "Лист1"
    for row in ROWS:
        book.active.append(row)
    book.save(HERE / "table.xlsx")


def xls():
    book = xlwt.Workbook()
    sheet = book.add_sheet("Лист1")
    for i, row in enumerate(ROWS):
        for j, cell in enumerate(row):
            sheet.write(i, j, cell)
    book.save(str(HERE / "table.xls"))


def ods():
    book = OpenDocumentSpreadsheet()
    table = Table(name="Лист1")
    for row in ROWS:
        line = TableRow()
        for cell in row:
            kind = {"valuetype": "string"}
            if isinstance(cell, int):
                kind = {"valuetype": "float", "value": cell}
            made = TableCell(**kind)
            made.addElement(P(text=str(cell)))
            line.addElement(made)
        table.addElement(line)
    book.spreadsheet.addElement(table)
    book.save(str(HERE / "table.ods"))


def kinds():
    book = openpyxl.Workbook()
    book.active.title = "Hidden"
    book.active.append(["nothing"])
    book.active.sheet_state = "hidden"
    book.create_sheet("Notes").append(["Source: an office"])
    sheet = book.create_sheet("Data")
    sheet["B2"], sheet["C2"], sheet["D2"], sheet["E2"] = "name of\nregion", "day", "value", "final"
    sheet["B3"], sheet["C3"] = 'A, "x"', datetime.date(2000, 12, 31)
    sheet["D3"], sheet["E3"] = 1234567890123, True
    sheet["B5"], sheet["C5"] = "B", datetime.datetime(2000, 12, 31, 0, 30)
    sheet["D5"], sheet["E5"] = 0.1, datetime.timedelta(hours=26, minutes=30)
    book.save(HERE / "kinds.xlsx")
    sheet["D6"] = "=D3+D5"
    book.save(HERE / "formula.xlsx")
    sheet["D6"] = "#N/A"
    book.save(HERE / "error.xlsx")
    sheet["D6"] = None
    sheet["XFD1048576"] = 1
    book.save(HERE / "far.xlsx")


for make in (xlsx, xls, ods, kinds):
    make()
