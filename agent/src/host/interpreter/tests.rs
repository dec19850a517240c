//! Command lines and the names that a person would expect.

use super::*;

fn name(command: &str, cwd: Option<&str>) -> Option<String> {
    let argv: Vec<String> = command.split(' ').map(str::to_owned).collect();
    let program = argv[0].rsplit('/').next().expect("a program");
    Interpreter::of(program).expect("an interpreter").script(&argv, cwd)
}

#[test]
fn scripts_modules_classes_and_jars_name_a_service() {
    for (command, expected) in [
        ("python app.py", "app"),
        ("python3.11 -u -W ignore /srv/shop/cart.py --port 80", "cart"),
        ("python3 -Wignore -X dev cart.pyc", "cart"),
        ("python /srv/shop/__main__.py", "shop"),
        ("python /srv/shop/src/manage.py runserver", "shop"),
        ("python -m http.server 8000", "http.server"),
        ("python -um shop.server", "shop.server"),
        ("python -mshop", "shop"),
        ("python3 /usr/bin/gunicorn shop:app", "shop"),
        ("python3 /usr/bin/gunicorn -w 4 -b 127.0.0.1:8000 shop.wsgi:application", "shop"),
        ("python3 /usr/bin/gunicorn shop.wsgi -b localhost:8000", "shop"),
        ("python3 /usr/bin/gunicorn -b unix:/run/x.sock --workers=2 shop", "shop"),
        ("python3 /usr/bin/gunicorn -n store app:app", "store"),
        ("python3 /usr/bin/gunicorn shop:create_app()", "shop"),
        ("python3 /usr/bin/gunicorn app:app", "app"),
        ("python3 /usr/bin/gunicorn -c conf.py", "gunicorn"),
        ("python3 -m gunicorn -k gthread shop:app", "shop"),
        ("python3 -m uvicorn shop.main:app --host 0.0.0.0", "shop"),
        ("python3 /v/bin/uvicorn --host localhost --port 80 shop.api.main:app", "shop"),
        ("python3 /v/bin/flask --app shop run", "shop"),
        ("python3 /v/bin/flask --app=shop.py run", "shop"),
        ("python3 /v/bin/flask run", "flask"),
        ("python3 -m flask run", "flask"),
        ("python3 /v/bin/celery -A shop worker", "shop"),
        ("python3 /v/bin/shop-server", "shop-server"),
        ("node orders.js", "orders"),
        ("node /srv/api/server.js", "api"),
        ("node --require ./tracing.js --max-old-space-size=512 /srv/api/dist/index.mjs", "api"),
        ("node /app/server.js", "server"),
        ("node /usr/src/app/index.js", "index"),
        ("node /home/alice/server.js", "server"),
        ("node /home/alice/shop/server.js", "shop"),
        ("node /x/node_modules/.bin/next start", "next"),
        ("node /x/node_modules/.bin/tsx /srv/pay/src/main.ts", "pay"),
        ("nodejs --inspect -- orders.js", "orders"),
        ("bun run /srv/api/index.ts", "api"),
        ("deno run --allow-net /srv/api/mod.ts", "api"),
        ("java -jar /opt/shop.jar --port=80", "shop"),
        ("java -Xmx1g -jar shop-1.2.3-SNAPSHOT.jar", "shop"),
        ("java -jar log4j-shop-2.jar", "log4j-shop-2"),
        ("java -cp /a.jar:/b.jar -Dx=y com.Foo arg", "com.Foo"),
        ("java -p mods -m shop/com.shop.Main", "shop"),
        ("java --add-opens java.base/java.lang=ALL-UNNAMED @args Server.java", "Server"),
        ("ruby -I lib -r json /srv/shop.rb", "shop"),
        ("ruby /usr/bin/puma -C config/puma.rb", "puma"),
        ("perl -w -I /lib /srv/shop.pl", "shop"),
        ("php -S 127.0.0.1:80 -t /srv/www /srv/shop/index.php", "shop"),
        ("php8.2 worker.php", "worker"),
        ("sh -e /srv/start.sh", "start"),
        ("dotnet exec --roll-forward Major /srv/Shop.dll", "Shop"),
    ] {
        assert_eq!(name(command, None).as_deref(), Some(expected), "{command}");
    }
}

#[test]
fn the_working_directory_completes_a_relative_path() {
    for (command, cwd, expected) in [
        ("node server.js", "/srv/api", Some("api")),
        ("node ./dist/main.js", "/srv/api", Some("api")),
        ("node ../index.js", "/srv/api/bin", Some("api")),
        ("node .", "/srv/api", Some("api")),
        ("node dist", "/srv/api", Some("api")),
        ("node .", "/app", None),
        ("python manage.py runserver", "/srv/shop", Some("shop")),
        ("php artisan serve", "/srv/shop", Some("shop")),
    ] {
        assert_eq!(name(command, Some(cwd)).as_deref(), expected, "{command} in {cwd}");
    }
}

#[test]
fn code_on_the_command_line_names_nothing() {
    for command in [
        "python -c import-os",
        "python -uc x",
        "python",
        "python -",
        "python -m",
        "node -e x",
        "node --eval x",
        "node",
        "perl -e x",
        "perl -ex y",
        "ruby -e x",
        "php -r x",
        "sh -c x",
        "java -version",
        "java -jar",
        "java -cp x org.springframework.boot.loader.launch.JarLauncher",
        "dotnet run",
        "deno run",
    ] {
        assert_eq!(name(command, Some("/srv/shop")), None, "{command}");
    }
}

#[test]
fn interpreters_are_known_by_their_file_names() {
    for (file, expected) in [
        ("python3.11", Some(Interpreter::Python)),
        ("pypy3", Some(Interpreter::Python)),
        ("nodejs", Some(Interpreter::Node)),
        ("php8.2", Some(Interpreter::Php)),
        ("php-fpm8.2", None),
        ("nginx", None),
        ("pythonista", None),
    ] {
        assert_eq!(Interpreter::of(file), expected, "{file}");
    }
}
