"""Sentences to synthesise, written for this project."""

# Letters of other scripts are meant.
# ruff: noqa: RUF001

SENTENCES: dict[str, tuple[str, ...]] = {
    "en": (
        "The ferry leaves at seven in the morning and comes back after dark.",
        "She painted the kitchen door green because nobody could agree on blue.",
        "Could you tell me which of these roads leads down to the harbour?",
        "A thin layer of ice covered the pond, but the ducks did not seem to mind.",
        "We measured the temperature twice and wrote both numbers in the notebook.",
        "Please leave your message after the tone and press the hash key.",
        "His grandfather repaired clocks in a small shop behind the station.",
        "The new library opens on Thursday, unless the paint is still wet.",
        "Fresh bread, two onions and a bag of rice should be enough for tonight.",
        "Nobody expected the quiet student in the last row to win the debate.",
        "If the wind turns to the north, the sailors will wait another day.",
        "Turn left at the bridge, then follow the river for about three miles.",
    ),
    "de": (
        "Der Zug nach Norden hat heute zwanzig Minuten Verspätung.",
        "Am Abend saßen wir noch lange auf der Bank vor dem Haus.",
        "Könnten Sie mir bitte sagen, wo ich die Apotheke finde?",
        "Im Garten blühen schon die ersten Krokusse und Schneeglöckchen.",
        "Das Wetter bleibt wechselhaft, und gegen Nachmittag kommt Regen auf.",
        "Er hatte den Schlüssel wieder einmal in der anderen Jacke gelassen.",
        "Zwischen den Bergen lag ein dichter, weißer Nebel.",
        "Für das Rezept braucht man drei Eier, etwas Mehl und einen Apfel.",
    ),
    "es": (
        "El tren de la mañana llega siempre lleno de estudiantes.",
        "Compramos naranjas y pan en el mercado de la plaza.",
        "¿Podría decirme a qué hora cierra la biblioteca?",
        "Mi hermana trabaja en un hospital cerca del río.",
        "Después de la lluvia, las calles olían a tierra mojada.",
        "Nunca habíamos visto una luna tan grande sobre el mar.",
    ),
    "fr": (
        "Le marché commence de bonne heure sur la place de l'église.",
        "Nous avons marché toute la journée le long de la rivière.",
        "Pourriez-vous me dire où se trouve la gare, s'il vous plaît ?",
        "Elle range ses vieux livres dans une grande armoire en bois.",
        "Il fait froid ce matin, mais le soleil brille sur les toits.",
        "Mon voisin répare des vélos pour tous les enfants du quartier.",
    ),
    "it": (
        "La mattina prendo sempre un caffè al bar sotto casa.",
        "I ragazzi giocano a pallone nella piazza fino a sera.",
        "Mi può dire dove si trova la fermata dell'autobus?",
        "Ieri abbiamo visitato un piccolo museo vicino al lago.",
        "Il vento ha portato via tutte le foglie del giardino.",
        "Mia nonna prepara la pasta fresca ogni domenica.",
    ),
    "nl": (
        "De trein naar het noorden vertrekt vandaag van een ander spoor.",
        "Na het eten maken we nog een wandeling langs het kanaal.",
        "Kunt u mij vertellen waar het postkantoor is?",
        "In de winter schaatsen de kinderen op de bevroren sloot.",
        "Mijn buurvrouw heeft een kat die altijd op het dak slaapt.",
    ),
    "pt": (
        "O barco sai do porto às oito horas da manhã.",
        "A minha avó guarda as cartas antigas numa caixa azul.",
        "Pode dizer-me onde fica a estação mais próxima?",
        "Choveu toda a noite e o rio subiu até à ponte.",
        "As crianças correram para ver os pássaros no telhado.",
    ),
    "pl": (
        "Pociąg do Krakowa odjeżdża dziś z innego peronu.",
        "Wieczorem usiedliśmy przy oknie i piliśmy herbatę.",
        "Czy może mi pan powiedzieć, gdzie jest najbliższa apteka?",
        "Dzieci zbierały kasztany w parku za szkołą.",
    ),
    "sv": (
        "Båten till ön går klockan nio varje morgon.",
        "Vi plockade blåbär i skogen hela eftermiddagen.",
        "Kan du säga mig var biblioteket ligger?",
        "Det blåser kallt, men solen lyser över sjön.",
    ),
    "fi": (
        "Juna pohjoiseen lähtee tänään toiselta raiteelta.",
        "Illalla istuimme pitkään järven rannalla.",
        "Voisitteko kertoa, missä kirjasto on?",
        "Metsästä löytyi paljon mustikoita ja muutama sieni.",
    ),
    "cs": (
        "Vlak do Brna dnes odjíždí z jiného nástupiště.",
        "Večer jsme seděli u okna a pili horký čaj.",
        "Můžete mi říct, kde je nejbližší lékárna?",
        "Děti běhaly po louce a pouštěly draka.",
    ),
    "ca": (
        "El vaixell surt del port a les vuit del matí.",
        "La meva àvia guarda les cartes velles en una capsa.",
        "Em podria dir on és l'estació més propera?",
        "Ha plogut tota la nit i el riu baixa molt ple.",
    ),
    "ru": (
        "Поезд на север сегодня отправляется с другого пути.",
        "Вечером мы долго сидели у реки и смотрели на воду.",
        "Скажите, пожалуйста, где находится библиотека?",
        "После дождя в саду запахло мокрой травой.",
    ),
    "hi": (
        "आज सुबह की गाड़ी बीस मिनट देर से आएगी।",
        "शाम को हम नदी के किनारे टहलने गए थे।",
        "क्या आप बता सकते हैं कि पुस्तकालय कहाँ है?",
        "बारिश के बाद बगीचे में फूल खिल गए।",
    ),
    "tr": (
        "Sabah vapuru bugün yarım saat geç kalkacak.",
        "Akşam yemeğinden sonra sahilde yürüyüşe çıktık.",
        "Bana en yakın eczanenin nerede olduğunu söyler misiniz?",
        "Yağmurdan sonra bahçe mis gibi toprak kokuyordu.",
    ),
    "cmn": (
        "今天早上的火车晚点了二十分钟。",
        "晚饭以后我们沿着河边散步。",
        "请问图书馆在什么地方？",
        "下雨以后，花园里的花都开了。",
    ),
    "ar": (
        "يصل القطار إلى المدينة في الساعة الثامنة صباحا.",
        "جلسنا في المساء قرب النهر وشربنا الشاي.",
        "هل يمكنك أن تخبرني أين تقع المكتبة؟",
    ),
    "ro": (
        "Trenul spre munte pleacă astăzi de la altă linie.",
        "Seara am stat mult timp pe malul lacului.",
        "Îmi puteți spune unde este biblioteca?",
    ),
    "el": (
        "Το πλοίο για το νησί φεύγει στις οκτώ το πρωί.",
        "Το βράδυ καθίσαμε δίπλα στη θάλασσα.",
        "Μπορείτε να μου πείτε πού είναι η βιβλιοθήκη;",
    ),
    "vi": (
        "Chuyến tàu sáng nay đến muộn hai mươi phút.",
        "Buổi tối chúng tôi đi dạo dọc theo bờ sông.",
        "Anh có thể cho tôi biết thư viện ở đâu không?",
    ),
}
"""Language code → sentences."""
